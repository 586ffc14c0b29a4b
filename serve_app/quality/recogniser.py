"""What is heard: moonshine-base, an English recogniser inside the package moonshine-cpp (MIT)."""

from __future__ import annotations

import multiprocessing
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from serve_app.quality.recording import MEASURE_RATE_HZ, Wave

PAD = MEASURE_RATE_HZ // 4  # words at the very edge of a recording are lost without silence around them
LONGEST = 20 * MEASURE_RATE_HZ  # the network was trained on half a minute at most
SEARCHED = 8 * MEASURE_RATE_HZ  # how far before LONGEST a pause to cut at is looked for
PAUSE = MEASURE_RATE_HZ // 5
CALLS_PER_PROCESS = 10  # every call of the package (0.1.4) loses 60 MB or more, even if the model is deleted
# A part takes seconds. When a worker dies, for want of memory for instance, the pool starts another but forgets the
# call, and would let it wait for ever.
PATIENCE_S = 120.0


class Recogniser:
    """Works in a process of its own, which is replaced from time to time."""

    def __init__(self) -> None:
        self._pool = multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=CALLS_PER_PROCESS)
        weakref.finalize(self, self._pool.terminate)

    def hear(self, wave: Wave) -> str:
        """The words of (n,) at 16 kHz; long recordings are cut at their quietest places."""
        return self.begin(wave)()

    def begin(self, wave: Wave) -> Callable[[], str]:
        """The same without waiting: what is returned waits for the words."""
        waits = [self._transcribe(part) for part in cut_at_pauses(wave)]
        return lambda: " ".join(wait() for wait in waits).strip()

    def _transcribe(self, part: Wave) -> Callable[[], str]:
        """Raises RuntimeError if two workers, one after the other, do not answer."""
        begun = self._pool.apply_async(_transcribe, (part,))

        def wait() -> str:
            with suppress(multiprocessing.TimeoutError):
                return begun.get(PATIENCE_S)
            with suppress(multiprocessing.TimeoutError):
                return self._pool.apply_async(_transcribe, (part,)).get(PATIENCE_S)
            raise RuntimeError(
                f"the recogniser did not answer twice within {PATIENCE_S:.0f} s; is there memory for it (2 GB)?"
            )

        return wait


@lru_cache(maxsize=1)
def _model() -> Any:
    from moonshine_cpp import MoonshineModel  # noqa: PLC0415  (loads 140 MB)

    return MoonshineModel(language="en", model_type="base")


def _transcribe(wave: Wave) -> str:
    # The package's call for arrays is broken (0.1.4); the one for files works.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        soundfile.write(path, np.pad(wave, PAD), MEASURE_RATE_HZ, subtype="PCM_16")
        return str(_model().transcribe_wav(str(path)))


def cut_at_pauses(wave: Wave) -> list[Wave]:
    """Parts of at most 20 s that together are the wave, cut in the middle of the quietest 0.2 s of the last 8 s."""
    parts: list[Wave] = []
    while len(wave) > LONGEST:
        searched = wave[LONGEST - SEARCHED : LONGEST].astype(np.float64) ** 2
        energy = np.convolve(searched, np.ones(PAUSE), "valid")
        cut = LONGEST - SEARCHED + int(energy.argmin()) + PAUSE // 2
        parts.append(wave[:cut])
        wave = wave[cut:]
    return [*parts, wave]
