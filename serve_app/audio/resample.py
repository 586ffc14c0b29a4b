"""Changing rate and tempo of a stream piece by piece; the result does not depend on how the pieces are cut."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame

from deployments.core.speech import Samples

ATEMPO_RANGE = (0.5, 2.0)  # one filter keeps good quality in this range; outside it several follow each other


class Resampler:
    """soxr "HQ" from one rate to another; passes samples through where the rates are equal."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")

    @property
    def changes_nothing(self) -> bool:
        return self._stream is None

    def write(self, samples: Samples, *, last: bool = False) -> Samples:
        if self._stream is None:
            return samples
        return np.asarray(self._stream.resample_chunk(samples, last=last), dtype=np.float32)


class TimeStretch:
    """FFmpeg's `atempo`: `factor` 2 speaks twice as fast at the same pitch."""

    def __init__(self, factor: float, sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        self._position = 0
        self._graph = None if abs(factor - 1) < 1e-6 else self._build(factor)

    def _build(self, factor: float) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_abuffer(
            sample_rate=self._rate_hz, format="flt", layout="mono", time_base=Fraction(1, self._rate_hz)
        )
        chain = [
            source,
            *(graph.add("atempo", f"{part:.6f}") for part in _parts(factor)),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*chain).configure()
        return graph

    @property
    def changes_nothing(self) -> bool:
        return self._graph is None

    def write(self, samples: Samples, *, last: bool = False) -> Samples:
        if self._graph is None:
            return samples
        if len(samples):
            frame = AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate = self._rate_hz
            frame.pts = self._position
            frame.time_base = Fraction(1, self._rate_hz)
            self._position += len(samples)
            self._graph.push(frame)
        if last:
            self._graph.push(None)
        pieces = list(self._pull())
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.float32)

    def _pull(self) -> Iterator[Samples]:
        assert self._graph is not None
        while True:
            try:
                yield self._graph.pull().to_ndarray().ravel().astype(np.float32)
            except (av.error.BlockingIOError, av.error.EOFError):  # noqa: PERF203  (there is no other way to ask)
                return


def _parts(factor: float) -> list[float]:
    low, high = ATEMPO_RANGE
    parts = []
    while factor > high:
        parts.append(high)
        factor /= high
    while factor < low:
        parts.append(low)
        factor /= low
    return [*parts, factor]
