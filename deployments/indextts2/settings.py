"""One `models` entry with `kind: indextts2`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deployments.core.settings import Settings
from deployments.indextts2.sampling import Presets
from deployments.indextts2.stream.chunk_planner import ChunkParameters

EMIT_S = 0.1  # of speech in a message of codes, where nothing else is said

Dtype = Literal["float32", "bfloat16", "float16"]


class SpeakerSettings(Settings):
    dtype: Dtype = "float32"
    max_batch: int = Field(default=4, ge=1, description="recordings encoded together")
    batch_wait_s: float = Field(default=0.01, ge=0)


class GptSettings(Settings):
    dtype: Dtype = "float32"
    slots: int = Field(
        default=32,
        ge=2,
        description="sequences decoded together: one per beam, and one for the latents of IndexTTS2",
    )
    max_length: int | None = Field(
        default=None, ge=1, description="positions of a slot; null: all that the model has"
    )
    max_waiting: int = Field(default=64, ge=0, description="slots that may be waited for; beyond that 429")
    prefill_rows: int = Field(
        default=256, ge=1, description="rows of new prefixes in one step, so that others do not stall"
    )
    voice_cache_mb: int = Field(default=64, ge=0)
    positions: Literal["published", "trained"] = Field(
        default="published",
        description="of codes: as the published code decodes, which leaves position 1 out, or without a gap, as in "
        "training",
    )
    cuda_graphs: bool = True
    compile: bool = Field(default=False, description="torch.compile; slower start, on a GPU only")


class S2MelSettings(Settings):
    dtype: Dtype = "float32"
    max_rows: int = Field(default=16, ge=1, description="jobs that share an Euler step")
    max_step_frames: int = Field(
        default=16384, ge=1, description="frames of one step over all jobs, prompts included"
    )
    max_waiting: int = Field(default=64, ge=0)
    voice_cache_mb: int = Field(default=256, ge=0)
    segment_cache_mb: int = Field(
        default=64, ge=0, description="codes and mel of segments at work, so that jobs carry only what is new"
    )


class VocoderSettings(Settings):
    type: Literal["bigvgan", "istft"] | None = Field(
        default=None, description="null: the one that the checkpoint's config.yaml names"
    )
    dtype: Dtype = "float32"
    max_batch: int = Field(default=8, ge=1)
    batch_wait_s: float = Field(default=0.0, ge=0)
    max_batch_frames: int = Field(default=4096, ge=1)


class IndexTTSSettings(Settings):
    """GPU shares, replicas and autoscaling of the stages are options of the deployments `<model>-speaker`, `-gpt`,
    `-s2mel` and `-vocoder` in the same file."""

    checkpoint: str = Field(
        default="indextts2", description="name to pull, see `voicegraph models ls`, or a path with a `/`"
    )
    device: str = Field(default="cpu", description="of all stages: cpu, cuda")
    speaker: SpeakerSettings = SpeakerSettings()
    gpt: GptSettings = GptSettings()
    s2mel: S2MelSettings = S2MelSettings()
    vocoder: VocoderSettings = VocoderSettings()

    description: str | None = Field(default=None, description="null: what the checkpoint is")
    quality_rank: int = Field(default=50, description="for `model: quality`; kokoro has 10")

    default_voice: str | None = Field(
        default=None, description="null: the first voice of the checkpoint's folder `voices`"
    )
    voice_aliases: dict[str, str] = Field(
        default_factory=dict, description="empty: OpenAI's names are spread over the checkpoint's voices"
    )
    profile_ram_bytes: int = Field(
        default=256_000_000, ge=0, description="profiles kept in the object store for the stages"
    )

    quality: Literal["fast", "balanced", "reference"] = Field(
        default="balanced", description="where a request says nothing"
    )
    presets: Presets = Presets()
    chunks: ChunkParameters = ChunkParameters()
    emit_codes: int | None = Field(
        default=None,
        ge=1,
        description=f"codes per message of the GPT stage in a stream; null: those of {EMIT_S} s",
    )
    segments_at_once: int = Field(
        default=4, ge=1, description="segments of one request decoded at the same time"
    )
    longest_wait_s: float = Field(
        default=20.0,
        ge=0,
        description="a request that would begin later, at the present load, is refused at once",
    )
    max_text_tokens_per_segment: int = Field(default=120, ge=10, le=1000)
    pause_ms: float = Field(default=200.0, ge=0, le=5000, description="between segments")
    longest_audio_s: float = Field(
        default=900.0,
        gt=0,
        description="a text that takes longer to speak is refused with 400, whatever its characters",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**63 - 1,
        description="for requests without one; null: a new one each time. A seed fixes chunk sizes as well, so that "
        "the audio is the same at any load; without one they follow the listener's buffer",
    )
