"""Decoding without a network: scores as a function of the codes so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from deployments.engine.noise import normals
from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.decoding import DecodedCodes, Decoder, NextCodes, new_decoder
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params

GREEDY = Params(temperature=0.0, num_beams=1)
SAMPLE = Params(num_beams=1)
SEARCH = Params(temperature=0.0, num_beams=3)
DEFAULT = Params()
WIDE = Params(num_beams=1, top_k=0, top_p=1.0)
MIXED = [
    GREEDY,
    SAMPLE,
    DEFAULT,
    SEARCH,
    WIDE,
    Params(num_beams=2, top_k=0, top_p=0.7, temperature=1.2),
    Params(num_beams=1, typical_mass=0.9, top_k=5),
    Params(num_beams=4, length_penalty=1.0, repetition_penalty=1.5, top_p=1.0),
    Params(num_beams=1, top_k=90, temperature=2.0),
    Params(num_beams=1, top_k=300, temperature=2.0),
]


def toy_dims(vocabulary: int) -> GptDims:
    return GptDims(8, 1, 1, 60, 20, 20, vocabulary, vocabulary - 2, vocabulary - 1, 0, 1)


@dataclass(frozen=True)
class Toy:
    """Scores that have the same bits on every machine."""

    vocabulary: int
    number: int
    stop_bonus: float
    spread: float = 1.0

    def logits(self, history: Sequence[int]) -> Tensor:
        last = history[-1] if history else 0
        own = _numbers(self.number, "toy", last * 3 + len(history) % 3, self.vocabulary)
        common = _numbers(self.number, "bias", len(history), self.vocabulary)
        scores = (own * 2 + common) * np.float32(self.spread)
        scores[-1] += np.float32(self.stop_bonus)
        return torch.from_numpy(scores)


@lru_cache(maxsize=20_000)
def _numbers(seed: int, stream: str, position: int, count: int) -> np.ndarray:
    return normals(seed, stream, position, 1, count)[:, 0]


@dataclass(frozen=True)
class Together:
    """Of requests that were decoded in one selection."""

    decoded: list[DecodedCodes]
    certain: list[list[list[int]]]  # of every request after each of its steps
    decoders: list[Decoder]


def decode_together(
    toys: Sequence[Toy],
    rules: Sequence[Params],
    seeds: Sequence[int],
    *,
    stream: int = 0,
    device: str = "cpu",
) -> Together:
    dims = toy_dims(toys[0].vocabulary)
    slots = sum(params.num_beams for params in rules)
    selection = Selection(dims, slots, device)
    selection.open(range(slots))
    decoders: list[Decoder] = []
    first = 0
    for params, seed in zip(rules, seeds, strict=True):
        own = tuple(reversed(range(first, first + params.num_beams)))
        first += params.num_beams
        decoders.append(new_decoder(params, own, dims, seed, stream))
    histories: list[list[list[int]]] = [[[] for _ in decoder.slots] for decoder in decoders]
    certain: list[list[list[int]]] = [[] for _ in decoders]
    while active := [i for i, decoder in enumerate(decoders) if not decoder.finished]:
        logits = torch.stack([toys[i].logits(history) for i in active for history in histories[i]])
        chosen = selection.choose(logits.to(device), [decoders[i] for i in active])
        for i, next_codes in zip(active, chosen, strict=True):
            assert isinstance(next_codes, NextCodes)
            pairs = zip(next_codes.parents, next_codes.codes, strict=True)
            histories[i] = [[*histories[i][parent], code] for parent, code in pairs]
            certain[i].append(list(decoders[i].certain()))
    return Together([decoder.result() for decoder in decoders], certain, decoders)
