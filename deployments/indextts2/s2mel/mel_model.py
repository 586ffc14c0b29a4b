"""S2Mel as a step model: a row is a job on its way from noise to mel, a step is one Euler step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.core.logs import RequestLogger
from deployments.engine.batcher import isolate_failures
from deployments.engine.noise import normals
from deployments.engine.step_model import Outcome
from deployments.indextts2.s2mel.content import ContentSource, SegmentContent
from deployments.indextts2.s2mel.device_cache import DeviceSegment, DeviceVoice, DeviceVoices
from deployments.indextts2.s2mel.dims import MAX_FRAMES
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.job import Mel, S2MelJob, mel_frames
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.voices.profile import VoiceProfile

# Frames whose conditions cost as much as one frame in one evaluation of the estimator.
PREPARED_FRAMES = 16


@dataclass(frozen=True, slots=True)
class MelTask:
    """A job with what it needs: its voice, on the device or still to be brought there; what is known of its segment,
    None if the job is complete; and where its noise comes from, which another thread may still be making."""

    job: S2MelJob
    voice: DeviceVoice | VoiceProfile
    segment: DeviceSegment | None
    noise: Callable[[], npt.NDArray[np.float32]]  # see MelModel.noise


@dataclass(frozen=True, slots=True)
class MadeMel:
    """The new frames (bands, L - F0), and the segment with them."""

    mel: Mel
    segment: DeviceSegment


@dataclass(eq=False, slots=True)
class MelRow:
    task: MelTask
    frames: int  # of prompt and target together
    flow: FlowRow | None = None  # from the first step on
    content: SegmentContent | None = None  # likewise


RUNNING: Outcome[MadeMel] = Outcome()


class MelModel:
    """Satisfies StepModel[MelTask, MelRow, MadeMel].

    Cost is counted in frames that the estimator computes, padding included.
    """

    def __init__(
        self,
        networks: S2MelNetworks,
        source: ContentSource,
        *,
        frames_per_code: Fraction,
        stretches: bool = False,
        voice_cache_bytes: int,
    ) -> None:
        self.voices = DeviceVoices(networks, source, max_bytes=voice_cache_bytes)
        self.bands = networks.dims.estimator.mel_channels
        self.frames_per_code = frames_per_code
        self._networks = networks
        self._stretches = stretches
        self._source = source
        self._solver = FlowSolver(networks.estimator)

    def check(self, job: S2MelJob) -> None:
        """Raises InvalidRequest if the job cannot be run, whatever its voice."""
        job.check(
            bands=self.bands,
            latent_width=self._source.latent_width,
            known_codes=self._source.known_codes,
            frames_per_code=self.frames_per_code,
            stretches=self._stretches,
        )

    def frames(self, job: S2MelJob) -> int:
        """L: frames of all codes of the segment so far."""
        return mel_frames(job.code_count, self.frames_per_code, job.duration_factor)

    def work_frames(self, task: MelTask) -> int:
        """Frames that one Euler step of the job computes, its prompt included. Any thread."""
        return (prompt_frames(task) + self.frames(task.job)) * task.job.params.network_rows

    def noise(self, job: S2MelJob) -> npt.NDArray[np.float32]:
        """Of the new frames, (bands, L - F0). Any thread; milliseconds for a long segment."""
        new = self.frames(job) - job.committed_frames
        return normals(job.seed, job.stream, job.committed_frames, new, self.bands)

    def width(self, task: MelTask) -> int:
        return 1

    def admit(self, task: MelTask) -> MelRow:
        prompt = prompt_frames(task)
        if (frames := prompt + self.frames(task.job)) > MAX_FRAMES:
            raise InvalidRequest(
                f"s2mel: {prompt} frames of reference and {frames - prompt} to speak; together at most {MAX_FRAMES}"
            )
        return MelRow(task, frames)

    def cost(self, rows: Sequence[MelRow]) -> int:
        evaluated = max(row.frames for row in rows) * sum(row.task.job.params.network_rows for row in rows)
        prepared = sum(row.frames for row in rows if row.flow is None)
        return evaluated + -(-prepared // PREPARED_FRAMES)

    @torch.inference_mode()
    def step(self, rows: Sequence[MelRow]) -> list[Outcome[MadeMel]]:
        new = [row for row in rows if row.flow is None]
        failed: dict[MelRow, Exception] = {}
        for row, flow in zip(new, isolate_failures(self._prepare, new), strict=True):
            if isinstance(flow, Exception):
                failed[row] = flow
                if not isinstance(flow, SpeechError):
                    RequestLogger(row.task.job.request_id).error("s2mel: a job failed", exc_info=flow)
            else:
                row.flow = flow
        self._solver.advance([row.flow for row in rows if row.flow is not None])
        return [Outcome(error=failed[row]) if row in failed else self._outcome(row) for row in rows]

    def release(self, row: MelRow) -> None:
        """Nothing to do: a row holds only its own tensors."""

    def _prepare(self, rows: Sequence[MelRow]) -> list[FlowRow]:
        """What is to be done before the first Euler step, for all new rows together."""
        if not rows:
            return []
        voices = [self._voice(row.task) for row in rows]
        for row in rows:
            known = None if row.task.segment is None else row.task.segment.content
            row.content = self._source.extended(known, row.task.job)
        projected = [row.content.projected for row in rows if row.content is not None]
        frames = [self.frames(row.task.job) for row in rows]
        conditions = self._networks.length_regulator.regulate(projected, frames)
        return [
            self._start(row.task, voice, condition)
            for row, voice, condition in zip(rows, voices, conditions, strict=True)
        ]

    def _voice(self, task: MelTask) -> DeviceVoice:
        if isinstance(task.voice, DeviceVoice):
            return task.voice
        key = task.job.voice.key
        # Jobs that came together all missed; the first one has made it.
        return self.voices.get(key) or self.voices.make(key, task.voice)

    def _start(self, task: MelTask, voice: DeviceVoice, condition: Tensor) -> FlowRow:
        job = task.job
        noise = np.zeros((self.bands, voice.frames + self.frames(job)), np.float32)
        noise[:, voice.frames + job.committed_frames :] = task.noise()
        try:
            return self._solver.admit(
                torch.from_numpy(noise),
                torch.cat([voice.mel, self._committed(task)], dim=1),
                torch.cat([voice.condition, condition]),
                voice.style,
                guidance=job.params.guidance,
                open_end=job.open_end,
                steps=job.euler_steps,
            )
        except ValueError as error:
            raise InvalidRequest(f"s2mel: {error}") from error

    def _committed(self, task: MelTask) -> Tensor:
        """(bands, F0)"""
        device = self._solver.device
        if task.job.committed is not None:
            return torch.tensor(task.job.committed).to(device)  # a copy: what Ray hands over is read-only
        if task.segment is not None:
            return task.segment.mel[:, : task.job.committed_frames]
        return torch.zeros(self.bands, 0, device=device)

    def _outcome(self, row: MelRow) -> Outcome[MadeMel]:
        assert row.flow is not None
        assert row.content is not None
        if not row.flow.done:
            return RUNNING
        new = row.flow.mel()
        mel = new.cpu().numpy()
        if not np.isfinite(mel).all():
            return Outcome(
                error=SpeechError(
                    "s2mel: the mel is not finite; are the latents, or is the dtype too narrow?"
                )
            )
        segment = DeviceSegment(row.content, torch.cat([self._committed(row.task), new], dim=1))
        return Outcome((MadeMel(mel, segment),), done=True)


def prompt_frames(task: MelTask) -> int:
    """Of the voice."""
    return task.voice.frames if isinstance(task.voice, DeviceVoice) else int(task.voice["mel"].shape[1])
