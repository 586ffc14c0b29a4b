"""From items to figures: which figures there are, and how each is made of the items it is about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from serve_app.quality.result import ItemResult

Pair = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A ratio of sums over the items, or a quantile of one value per item.

    `parts` gives an item's numerator and denominator (a mean has 1 there), or None where it does not count.
    `scale` and `digits` are for people; figures of time are compared as ratios, others as differences.
    """

    name: str
    label: str
    parts: Callable[[ItemResult], Pair | None]
    better: Literal["lower", "higher"]
    digits: int
    scale: float = 1.0
    quantile: float | None = None
    of_time: bool = False

    def value(self, pairs: Floats) -> Floats:
        """(…, n, 2) pairs of a sample, or of many, to (…)."""
        if self.quantile is not None:
            quantiles: Floats = np.quantile(pairs[..., 0], self.quantile, axis=-1)
            return quantiles
        sums = pairs.sum(axis=-2)
        ratios: Floats = sums[..., 0] / sums[..., 1]
        return ratios

    def of(self, items: Sequence[ItemResult]) -> float | None:
        """None where no item counts."""
        pairs = [pair for item in items if (pair := self.parts(item)) is not None]
        return float(self.value(np.array(pairs))) if pairs else None


def _ratio(part: float | None, whole: float | None) -> Pair | None:
    return None if part is None or not whole else (float(part), float(whole))


def _mean(value: float | None) -> Pair | None:
    return None if value is None else (float(value), 1.0)


FIGURES: tuple[Figure, ...] = (
    Figure("wer", "WER (%)", lambda i: _ratio(i.errors, i.words), "lower", 2, scale=100),
    Figure("cer", "CER (%)", lambda i: _ratio(i.char_errors, i.chars), "lower", 2, scale=100),
    Figure("similarity", "similarity", lambda i: _mean(i.similarity), "higher", 3),
    Figure("dnsmos_ovrl", "DNSMOS", lambda i: _mean(i.dnsmos_ovrl), "higher", 2),
    Figure("dnsmos_p808", "P.808", lambda i: _mean(i.dnsmos_p808), "higher", 2),
    Figure("rtf", "RTF", lambda i: _ratio(i.total_s, i.audio_s), "lower", 3, of_time=True),
    Figure(
        "first_audio_p50", "first audio, median (s)", lambda i: _mean(i.first_audio_s), "lower", 3,
        quantile=0.5, of_time=True,
    ),
    Figure(
        "first_audio_p95", "first audio, p95 (s)", lambda i: _mean(i.first_audio_s), "lower", 3,
        quantile=0.95, of_time=True,
    ),
)  # fmt: skip


def figures(items: Sequence[ItemResult]) -> dict[str, Any]:
    """All figures by name (WER and CER as fractions), with counts of failures and of answers that stall."""
    audible = [item for item in items if item.audio_s > 0]
    failures = Counter(item.failure for item in items if item.failure is not None)
    return {
        **{figure.name: figure.of(items) for figure in FIGURES},
        "items": len(items),
        "audio_s": sum(item.audio_s for item in items),
        "plays_through": sum(bool(item.plays_through) for item in audible) / len(audible)
        if audible
        else None,
        "failures": {kind: failures[kind] for kind in ("error", "empty", "long")},
    }
