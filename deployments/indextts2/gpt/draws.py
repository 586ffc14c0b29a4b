"""Filters and draws on the host, over the best scores of a row (indextts2-front.md 7.2, 7.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deployments.engine.noise import Doubles, uniforms
from deployments.indextts2.sampling import Params

Scores = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
Candidates = list[tuple[float, int]]
"""Total score and beam·V + code, the best first."""

NUMBERS_AT_ONCE = 4096  # fewer are hardly faster to make


class RandomNumbers:
    """Uniform numbers in (0, 1) for the draws of one request: one per step, beam and rank of the shortlist. Each is a
    function of (seed, stream, step, beam, rank) alone."""

    def __init__(self, seed: int, stream: int, *, beams: int, width: int) -> None:
        self.width = width
        self._seed = seed
        self._stream = f"gpt.sampling.{stream}"
        self._beams = beams
        self._first_step = 0
        self._made = np.empty((0, beams, width))  # of several steps

    def of_step(self, step: int) -> Doubles:
        """(beams, width)."""
        if not 0 <= step - self._first_step < len(self._made):
            size = self._beams * self.width
            steps = max(1, NUMBERS_AT_ONCE // size)
            made = uniforms(self._seed, self._stream, step * size, steps * size)
            self._made = made.reshape(steps, self._beams, self.width)
            self._first_step = step
        return self._made[step - self._first_step]


def gumbel(numbers: Doubles) -> Doubles:
    """Gumbel noise from uniform numbers, rising with them. The largest of scores with such noise is a draw from the
    softmax of the scores, and the k largest are k draws without replacement (Kool et al., "Stochastic beams and where
    to find them")."""
    noise: Doubles = -np.log(-np.log(numbers))
    return noise


class Filters:
    """Top-k and top-p of R rows. Each row looks at its `width` best scores."""

    def __init__(self, rows: Sequence[Params], vocabulary: int) -> None:
        widths = [params.shortlist_width(vocabulary) for params in rows]
        kept = [params.kept_candidates for params in rows]
        top_k = [
            min(width, max(params.top_k, keep)) if params.samples and params.top_k else width
            for params, width, keep in zip(rows, widths, kept, strict=True)
        ]
        # A mass below 0 drops nothing.
        dropped = [1.0 - params.top_p if params.samples and params.top_p < 1.0 else -1.0 for params in rows]
        self._width, self._kept, self._top_k = np.array([widths, kept, top_k])[:, :, None]
        self._rows = np.arange(len(rows))[:, None]
        self._dropped_mass = np.array(dropped, np.float32)[:, None]  # as exact as the reference has it

    def worst(self, values: Scores) -> Scores:
        """The k-th of the K best scores (R,K): (R,1). No worse one passes top-k, but all that are equal to it do."""
        places = np.minimum(self._top_k, values.shape[1]) - 1
        found: Scores = values[self._rows, places]
        return found

    def passed(self, values: Scores, whole: Doubles | None = None) -> npt.NDArray[np.bool_]:
        """Which of the K best scores (R,K), falling, are candidates: the first ones of each row.

        whole (R,1): Σ exp(score − best score) over all that pass top-k, where these are not all among the K.
        """
        ranks = np.arange(values.shape[1])
        inside = (values >= self.worst(values)) & (ranks < self._width)
        weights = np.exp(values.astype(np.float64) - values[:, :1]) * inside
        sums = weights.cumsum(1)
        whole = sums[:, -1:] if whole is None else whole
        rest = whole - sums + weights  # mass of a candidate and all that are worse
        return inside & ((rest > self._dropped_mass * whole) | (ranks < self._kept))


def beam_candidates(
    values: Scores, codes: Codes, running: Scores, numbers: Doubles | None, *, count: int, vocabulary: int
) -> Candidates:
    """The `count` best over all beams, or as many draws by random numbers.

    values, codes, numbers (n,K): per beam the best first, −inf for what is no candidate; running (n,): scores so far.
    """
    totals = (values + running[:, None]).reshape(-1)
    flat = (np.arange(len(values))[:, None] * vocabulary + codes).reshape(-1)
    if numbers is None:
        chosen = np.lexsort((flat, -totals))[:count]
    else:
        drawn = best(totals + gumbel(numbers).reshape(-1), count)
        chosen = drawn[np.argsort(-totals[drawn], kind="stable")]  # equals stay in the order drawn
    return list(zip(totals[chosen].tolist(), flat[chosen].tolist(), strict=True))


def best(keys: Doubles, count: int) -> Codes:
    """Where the `count` largest of keys (n,) are, falling; of equals the first comes first."""
    among = np.flatnonzero(keys >= np.partition(keys, -count)[-count])
    return among[np.argsort(-keys[among], kind="stable")][:count]
