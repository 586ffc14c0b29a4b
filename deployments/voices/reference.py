"""The recording that a voice is cloned from: as it is found, and decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.core.errors import InvalidRequest, SpeechError
from deployments.voices.registered_voice import RegisteredVoice


@dataclass(frozen=True, eq=False)
class ReferenceAudio:
    """One decoded recording, neither resampled nor mixed down.

    `samples` are float32, (channels, N), nominally in [-1, 1], at the recording's own rate: each model mixes
    down (mean of the channels) and resamples its own way (indextts2-front.md 3.1). `sha256` names the
    recording: the hash of the uploaded bytes, or of the samples where there never were any bytes. `shortened`: there
    were more words in it, so that its transcript does not fit.
    """

    samples: NDArray[np.float32]
    sample_rate_hz: int
    duration_s: float
    warnings: tuple[str, ...]
    sha256: str
    media_type: str = "audio/wav"
    shortened: bool = False

    @staticmethod
    def from_samples(samples: NDArray[np.floating], sample_rate_hz: int) -> ReferenceAudio:
        """Audio that is already decoded: `samples` (N,) or (channels, N); no limits, no checks of quality."""
        planes = np.atleast_2d(np.asarray(samples, dtype=np.float32, order="C"))
        if planes.ndim != 2 or not planes.size:
            raise InvalidRequest(
                f"Samples must be (N,) or (channels, N) and not empty, not {np.shape(samples)}."
            )
        digest = hashlib.sha256(f"{planes.shape} {sample_rate_hz} ".encode())
        digest.update(planes.tobytes())
        return ReferenceAudio(
            planes, sample_rate_hz, planes.shape[1] / sample_rate_hz, (), digest.hexdigest()
        )

    def mono(self) -> NDArray[np.float32]:
        """(N,): the mean of the channels."""
        return self.samples[0] if len(self.samples) == 1 else self.samples.mean(axis=0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording by its hash, which is all that is needed where its profile is known already.

    `content` says how to get at it: the bytes that a request brought, a file that comes with a model, or a voice of
    the store.
    """

    sha256: str  # of the bytes
    content: bytes | Path | RegisteredVoice
    reference_text: str = ""  # what is said in it
    audio: ReferenceAudio | None = None  # where it has been decoded already

    @staticmethod
    def of(voice: RegisteredVoice) -> Recording:
        return Recording(voice.sha256, voice, voice.reference_text)

    @property
    def storable(self) -> bool:
        """Whether profiles of it may be written. What nobody registered leaves no trace."""
        return not isinstance(self.content, bytes)


def read_stock_recording(path: Path) -> bytes:
    """Raises SpeechError, because such a file is the operator's."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpeechError(
            f"The recording {path} of a voice that comes with a model cannot be read ({error.strerror}). Restore it, "
            "for instance by pulling the model again."
        ) from error
