"""S2Mel's engine: Euler steps of jobs of all requests, each at its own time, share batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import torch

from deployments.core.deadline import before
from deployments.core.logs import RequestLogger
from deployments.core.metrics import Reply, scaling_stats
from deployments.engine.step_engine import StepEngine
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.content import ContentSource, load_content_source
from deployments.indextts2.s2mel.device_cache import DeviceSegment, DeviceVoice
from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.s2mel.mel_model import MadeMel, MelModel, MelRow, MelTask
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel
from deployments.indextts2.settings import S2MelSettings
from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile


class S2MelEngine:
    """Keeps the voices and the segments it worked on last, so that jobs carry only what is new."""

    def __init__(
        self,
        networks: S2MelNetworks,
        source: ContentSource,
        settings: S2MelSettings,
        *,
        frames_per_code: Fraction,
        stretches: bool = False,
        replica: str = "",
    ) -> None:
        """`replica` names this process in the metrics."""
        self._model = MelModel(
            networks,
            source,
            frames_per_code=frames_per_code,
            stretches=stretches,
            voice_cache_bytes=settings.voice_cache_mb << 20,
        )
        self.voices = self._model.voices.kept
        self.segments: ByteLRU[DeviceSegment] = ByteLRU(
            settings.segment_cache_mb << 20, lambda segment: segment.nbytes
        )
        self._max_step_frames = settings.max_step_frames
        self._noise = ThreadPoolExecutor(1, thread_name_prefix="s2mel-noise")
        self._engine: StepEngine[MelTask, MelRow, MadeMel] = StepEngine(
            self._model,
            name="s2mel",
            max_rows=settings.max_rows,
            max_step_cost=settings.max_step_frames,
            max_waiting=settings.max_waiting,
            replica=replica,
        )

    def start(self) -> None:
        self._engine.start()

    def stop(self) -> None:
        self._engine.stop()
        self._noise.shutdown(wait=False)

    def check_health(self) -> None:
        self._engine.check_health()

    def scaling_stats(self) -> dict[str, float]:
        """Frames of all jobs, over those that share an Euler step; a job that is larger than that fills one."""
        frames = [self._model.work_frames(task) for task in self._engine.jobs()]
        return scaling_stats(sum(frames), max([self._max_step_frames, *frames]))

    async def mel(self, job: S2MelJob) -> Reply[Mel | None]:
        """New frames (bands, L - F0) float32 of log-mel, L = mel_frames of all n codes (indextts2-back.md 3, 4).

        None if the job is not complete and its segment is not known here (any more): then it is to be sent again with
        all codes and the committed mel. Raises InvalidRequest for a job that makes no sense, Overloaded, Unavailable,
        DeadlineExceeded.
        """
        self._model.check(job)
        # The cache drops by the beginning of a name: "a-1" must not take "a-10" along.
        name = f"{job.segment}/"
        segment = None if job.complete else self.segments.get(name)
        if not job.complete and (segment is None or not segment.knows(job.first_code, job.committed_frames)):
            RequestLogger(job.request_id).debug("s2mel: segment %s is not known here", job.segment)
            return self._engine.reply(None)
        try:
            made = await self._made(job, segment)
        except BaseException:
            self.segments.drop(name)
            raise
        if job.last:
            self.segments.drop(name)
        else:
            self.segments.put(name, made.segment)
        return self._engine.reply(made.mel)

    async def _made(self, job: S2MelJob, segment: DeviceSegment | None) -> MadeMel:
        voice: DeviceVoice | VoiceProfile | None = self.voices.get(job.voice.key)
        if voice is None:
            voice = await before(job.deadline, job.voice.profile, "the voice has not come")
        noise = self._noise.submit(self._model.noise, job)
        return await self._engine.result(
            MelTask(job, voice, segment, noise.result),
            slack_s=job.slack_s,
            deadline=job.deadline,
            refusable=job.refusable,
        )


def load_networks(
    checkpoint: IndexTTSCheckpoint, *, device: str, dtype: torch.dtype
) -> tuple[S2MelNetworks, ContentSource]:
    """Of s2mel.pth and the semantic codec; nothing else is read. Raises CheckpointError."""
    checkpoint.require("s2mel")
    networks = load_s2mel(
        checkpoint.path("s2mel"),
        checkpoint.config,
        takes_latents=checkpoint.traits.speaks_latents,
        device=device,
        dtype=dtype,
    )
    return networks, load_content_source(checkpoint, networks, device=device)
