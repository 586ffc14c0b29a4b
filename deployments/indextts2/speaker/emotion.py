"""Emotion vectors.

Mixing references, and eight weights looked up in the emotion matrices (indextts2-front.md 5.5, 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.core.errors import InvalidRequest

EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
BIAS = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
MAX_SUM = 0.8
COSINE_EPS = 1e-8

Vector = npt.NDArray[np.float32]
"""Shape (D,)."""


def merge(speaker: Vector, reference: Vector, alpha: float) -> Vector:
    """e_mix = e(F_spk) + alpha (e(F_emo) - e(F_spk)).

    `alpha` is not clamped; it is 1 without an emotion reference.
    """
    return speaker + np.float32(alpha) * (reference - speaker)


def normalize_weights(weights: Sequence[float], *, apply_bias: bool = True) -> list[float]:
    """Eight weights tamed for direct use.

    Optional bias per emotion, then scaled to a sum of at most 0.8 (9.1).
    """
    check_weights(weights)
    values = [w * b for w, b in zip(weights, BIAS, strict=True)] if apply_bias else list(weights)
    total = sum(values)
    return [w * (MAX_SUM / total) for w in values] if total > MAX_SUM else values


def scale_weights(weights: Sequence[float], alpha: float) -> list[float]:
    """Weights times alpha (clamped to 0..1), cut to four decimals; untouched at alpha 1 (9, step 3)."""
    check_weights(weights)
    factor = max(0.0, min(1.0, alpha))
    return list(weights) if factor == 1.0 else [int(w * factor * 10000) / 10000 for w in weights]


def check_weights(weights: Sequence[float]) -> None:
    """Raises InvalidRequest unless there are eight finite weights of at least 0."""
    if len(weights) != len(EMOTIONS) or not all(np.isfinite(w) and w >= 0 for w in weights):
        raise InvalidRequest(
            f"the emotion vector needs {len(EMOTIONS)} numbers of at least 0: {', '.join(EMOTIONS)}",
            param="emotion",
        )


@dataclass(frozen=True)
class EmotionMatrix:
    """feat1 (`keys`, (R,S), by speaker style) and feat2 (`values`, (R,D)), one emotion after another."""

    keys: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]
    rows_per_emotion: tuple[int, ...]

    def __post_init__(self) -> None:
        rows = sum(self.rows_per_emotion)
        if len(self.rows_per_emotion) != len(EMOTIONS) or not rows == len(self.keys) == len(self.values):
            raise ValueError(
                f"emo_num {self.rows_per_emotion} does not describe matrices of {len(self.keys)} and "
                f"{len(self.values)} rows for {len(EMOTIONS)} emotions"
            )

    def nearest_rows(self, style: Vector) -> list[int]:
        """Per emotion the row, counted within the emotion, most like the speaker's style (S,)."""
        norms = np.maximum(np.linalg.norm(self.keys, axis=1) * np.linalg.norm(style), COSINE_EPS)
        cosine = self.keys @ style.astype(np.float32) / norms
        return [int(part.argmax()) for part in np.split(cosine, self._starts()[1:])]

    def random_rows(self, seed: int) -> list[int]:
        """Per emotion a uniformly random row, a function of the seed (at least 0) alone."""
        generator = np.random.Generator(np.random.Philox(seed))
        return [int(generator.integers(count)) for count in self.rows_per_emotion]

    def vector(self, weights: Sequence[float], rows: Sequence[int]) -> Vector:
        """m (D,): the chosen rows of feat2, weighted."""
        chosen = self.values[self._starts() + np.asarray(rows)]
        return (np.asarray(weights, np.float32)[:, None] * chosen).sum(axis=0)

    def mix(self, weights: Sequence[float], rows: Sequence[int], audio: Vector) -> Vector:
        """e_final = m + (1 - sum of weights) e_mix, with `audio` = e_mix at alpha 1 (9.2).

        The sum may exceed 1.
        """
        check_weights(weights)
        rest = np.float32(1.0) - np.asarray(weights, np.float32).sum()
        return self.vector(weights, rows) + rest * audio

    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum((0, *self.rows_per_emotion[:-1]))
