"""The two stages: one hears how loud a recording is, one rings a bell for every word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from deployments.core import settings
from deployments.core.metrics import Reply
from deployments.core.speech import Samples
from deployments.core.stages import replica_name
from deployments.engine.batcher import Batcher
from deployments.voices.profile import EncodedProfile, VoiceProfile
from deployments.voices.reference import ReferenceAudio

SAMPLE_RATE_HZ = 8_000
BELL_S = 0.05
VERSION = "1"


class Params(settings.Params):
    pitch_hz: int = Field(default=400, ge=100, le=2000, description="of the lowest bell")
    muffled: bool = Field(default=False, description="half as loud")


@dataclass(frozen=True, slots=True)
class RingJob:
    words: int
    gain: float
    params: Params
    request_id: str = ""


class Ear:
    """Encodes voices: all that it keeps of one is how loud it is."""

    def __init__(self) -> None:
        self._batches = Batcher("ear", max_batch=4, replica=replica_name())

    async def encode(self, recording: ReferenceAudio) -> Reply[EncodedProfile]:
        profile = await self._batches.run(self._profiles, recording)
        return self._batches.reply(EncodedProfile(profile, VERSION))

    async def ready(self) -> bool:
        return True

    @staticmethod
    def _profiles(recordings: list[ReferenceAudio]) -> list[VoiceProfile]:
        return [VoiceProfile({"gain": np.abs(each.samples).max(keepdims=True)}) for each in recordings]


class Bell:
    def __init__(self) -> None:
        self._batches = Batcher("bell", max_batch=1, replica=replica_name())

    async def ring(self, job: RingJob) -> Reply[Samples]:
        """(BELL_S * words,) at 8 kHz."""
        return self._batches.reply(await self._batches.run(_rung, job))

    async def ready(self) -> bool:
        return True


def _rung(jobs: list[RingJob]) -> list[Samples]:
    time_s = np.arange(round(BELL_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return [
        np.concatenate(
            [
                job.gain
                * (0.5 if job.params.muffled else 1.0)
                * np.sin(2 * np.pi * (job.params.pitch_hz + 50 * word) * time_s)
                for word in range(job.words)
            ]
        ).astype(np.float32)
        for job in jobs
    ]
