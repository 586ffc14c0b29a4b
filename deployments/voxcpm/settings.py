"""One `models` entry with `kind: voxcpm`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deployments.core.settings import Settings
from deployments.voxcpm.dims import MAX_EULER_STEPS
from deployments.voxcpm.params import Params


class EncoderSettings(Settings):
    max_batch: int = Field(default=4, ge=1, description="recordings encoded together")
    batch_wait_s: float = Field(default=0.01, ge=0)


class EngineSettings(Settings):
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of all but the AudioVAE, which is float32; trained in bfloat16"
    )
    slots: int = Field(default=16, ge=1, description="segments spoken together")
    max_length: int = Field(
        default=1024,
        ge=64,
        description="positions of a slot: text, recording and what is spoken; at most those of the model",
    )
    max_waiting: int = Field(
        default=64, ge=0, description="segments that may wait for a slot; beyond that 429"
    )
    prefill_positions: int = Field(
        default=512,
        ge=1,
        description="of new segments, text and voice, in one step, so that others do not stall",
    )
    first_patch_steps: int | None = Field(
        default=None,
        ge=1,
        le=MAX_EULER_STEPS,
        description="Euler steps of the first patch of a segment, for an earlier first sound; null: as the others",
    )
    time_dtype: Literal["float32", "bfloat16"] | None = Field(
        default=None, description="in which the times of Euler steps are worked out; null: as in training"
    )
    cuda_graphs: bool = True


class VoxCPMSettings(Settings):
    """GPU shares, replicas and autoscaling of the stages are options of the deployments `<model>-encoder` and
    `<model>-engine` in the same file."""

    checkpoint: str = Field(
        default="voxcpm-1.5", description="name to pull, see `voicegraph models ls`, or a path with a `/`"
    )
    device: str = Field(default="cpu", description="of both stages: cpu, cuda")
    encoder: EncoderSettings = EncoderSettings()
    engine: EngineSettings = EngineSettings()

    description: str = "VoxCPM: low latency on a GPU; clones a voice from a transcribed recording"
    quality_rank: int = Field(
        default=40, description="for `model: quality`; kokoro has 10, the large cloning models 50"
    )

    default_voice: str | None = Field(
        default=None,
        description="null: the first voice of the checkpoint's folder `voices`, else `random`, the model's own choice",
    )
    voice_aliases: dict[str, str] = Field(
        default_factory=dict, description="empty: OpenAI's names are spread over the checkpoint's voices"
    )

    params: Params = Field(default=Params(), description="where a request says nothing")
    max_segment_chars: int = Field(
        default=240,
        ge=20,
        le=2000,
        description="of Latin script, others count for more; longer text is spoken in segments",
    )
    pause_ms: float = Field(default=200.0, ge=0, le=5000, description="between segments")
    longest_wait_s: float = Field(
        default=20.0,
        ge=0,
        description="a request that would begin later, at the present load, is refused at once",
    )
    longest_audio_s: float = Field(
        default=900.0,
        gt=0,
        description="a text that takes longer to speak is refused with 400, whatever its characters",
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="for requests without one; null: a new one each time"
    )
