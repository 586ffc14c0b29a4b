"""Where the chance in sampling comes from: a draw depends on scores, seed and step, never on the batch."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from deployments.engine.noise import uniforms

Scores = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]


class Draws(Protocol):
    """Draws without replacement from the unnormalised log-probabilities of a request's n rows."""

    def pick(self, totals: Scores, codes: Codes, *, step: int, count: int, vocabulary: int) -> Codes:
        """`count` drawn entries as row·vocabulary + code, in the order drawn.

        totals, codes (n,S): per row the best first, −inf where a filter dropped the code. S is the width that
        the request's settings ask for.
        """
        ...


class CounterDraws:
    """Gumbel-top-k over counter-based noise: the server's draws."""

    def __init__(self, seed: int, stream: str = "gpt.sampling") -> None:
        self.seed = seed
        self.stream = stream

    def pick(self, totals: Scores, codes: Codes, *, step: int, count: int, vocabulary: int) -> Codes:
        noise = uniforms(self.seed, self.stream, step * totals.size, totals.size).reshape(totals.shape)
        keys = (totals.astype(np.float64) - np.log(-np.log(noise))).reshape(-1)
        best = np.argsort(-keys, kind="stable")[:count]
        rows, ranks = np.divmod(best, totals.shape[1])
        return rows * vocabulary + codes[rows, ranks]


class TorchDraws:
    """One `multinomial` call over all n·V entries: the reference's use of torch's generator.

    Without a generator torch's global one is used, as after `torch.manual_seed`. Entries of probability 0 are
    drawn when fewer than `count` have any, as the reference does (indextts2-front.md 7.3).
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def pick(self, totals: Scores, codes: Codes, *, step: int, count: int, vocabulary: int) -> Codes:
        dense = torch.full((len(totals), vocabulary), -torch.inf)
        dense.scatter_(1, torch.from_numpy(codes), torch.from_numpy(totals))
        weights = dense.view(1, -1).softmax(-1)
        return torch.multinomial(weights, count, generator=self.generator)[0].numpy()
