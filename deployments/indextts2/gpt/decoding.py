"""How one request is decoded: the codes so far, what to feed next, when to end (indextts2-front.md 7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.draws import Candidates, RandomNumbers, Scores
from deployments.indextts2.sampling import Params


@dataclass(frozen=True, slots=True)
class NextCodes:
    """How a request goes on; `codes` and `parents` have one entry per beam.

    Beam i continues the history of beam `parents[i]` and is fed `codes[i]`. Nothing is fed once `finished`.
    """

    codes: tuple[int, ...]
    parents: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class DecodedCodes:
    """The codes without the stop code; `stopped` is false where the length limit cut them. May be empty."""

    codes: tuple[int, ...]
    stopped: bool
    score: float | None = None  # beam modes only


class Decoder(ABC):
    """What the ways to decode share. `slots` are those of cache and selection that the request holds, one per beam;
    `numbers` decide what is drawn, None takes the best."""

    def __init__(
        self, params: Params, slots: tuple[int, ...], dims: GptDims, numbers: RandomNumbers | None
    ) -> None:
        if len(slots) != params.num_beams:
            raise ValueError(f"{params.num_beams} beams need as many slots, got {len(slots)}")
        self.params = params
        self.slots = slots
        self.stop_code = dims.stop_mel_token
        self.vocabulary = dims.number_mel_codes
        self.numbers = numbers
        self.steps = 0  # codes chosen so far = length of every open beam
        self.finished = False

    @property
    @abstractmethod
    def running(self) -> Scores:
        """The score of each beam so far, (n,)."""

    @abstractmethod
    def advance(self, candidates: Candidates) -> NextCodes:
        """Go on by one code; as many candidates as the parameters' `step_candidates`."""

    @abstractmethod
    def certain(self) -> list[int]:
        """The codes that will be in the result whatever comes; only grows, and is whole when finished."""

    @abstractmethod
    def result(self) -> DecodedCodes:
        """Only once finished."""


class RowDecoder(Decoder):
    """One sequence: greedy without random numbers, plain sampling with them."""

    def __init__(
        self, params: Params, slots: tuple[int, ...], dims: GptDims, numbers: RandomNumbers | None
    ) -> None:
        super().__init__(params, slots, dims, numbers)
        self.codes: list[int] = []
        self.stopped = False

    @property
    def running(self) -> Scores:
        return np.zeros(1, np.float32)

    def advance(self, candidates: Candidates) -> NextCodes:
        return self.append(candidates[0][1])

    def append(self, code: int) -> NextCodes:
        self.steps += 1
        self.stopped = code == self.stop_code
        if not self.stopped:
            self.codes.append(code)
        self.finished = self.stopped or self.steps >= self.params.max_codes
        return NextCodes((code,), (0,), self.finished)

    def certain(self) -> list[int]:
        return self.codes

    def result(self) -> DecodedCodes:
        return DecodedCodes(tuple(self.codes), self.stopped)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    codes: tuple[int, ...]  # without the stop code
    score: float
    stopped: bool


class BeamDecoder(Decoder):
    """n sequences: beam search without random numbers, beam sampling with them (7.3)."""

    def __init__(
        self, params: Params, slots: tuple[int, ...], dims: GptDims, numbers: RandomNumbers | None
    ) -> None:
        super().__init__(params, slots, dims, numbers)
        self.totals = np.full(len(slots), -1e9, np.float32)
        self.totals[0] = 0.0
        self.histories = np.zeros((len(slots), params.max_codes), np.int64)
        self.hypotheses: list[Hypothesis] = []
        self._certain: list[int] = []

    @property
    def running(self) -> Scores:
        return self.totals

    def advance(self, candidates: Candidates) -> NextCodes:
        beams = len(self.slots)
        parents: list[int] = []
        tokens: list[int] = []
        totals: list[float] = []
        self.steps += 1
        for rank, (total, flat) in enumerate(candidates):
            parent, code = divmod(flat, self.vocabulary)
            if code == self.stop_code:
                if rank < beams:
                    closed = tuple(self.histories[parent, : self.steps - 1].tolist())
                    self._close(Hypothesis(closed, total / self._norm(self.steps), True))
            elif len(parents) < beams:
                parents.append(parent)
                tokens.append(code)
                totals.append(total)
        self.histories[:, : self.steps - 1] = self.histories[parents, : self.steps - 1]
        self.histories[:, self.steps - 1] = tokens
        self.totals = np.asarray(totals, np.float32)
        self.finished = self._decided(candidates[0][0])
        if not self.finished and self.steps >= self.params.max_codes:
            self._close_open_beams()
        return NextCodes(tuple(tokens), tuple(parents), self.finished)

    def _norm(self, length: int) -> float:
        return float(length**self.params.length_penalty)

    def _close(self, hypothesis: Hypothesis) -> None:
        """Keep the n best; the oldest of equals is the one to go."""
        if len(self.hypotheses) == len(self.slots):
            worst = min(self.hypotheses, key=lambda known: known.score)
            if hypothesis.score <= worst.score:
                return
            self.hypotheses.remove(worst)
        self.hypotheses.append(hypothesis)

    def _best(self) -> Hypothesis | None:
        return max(reversed(self.hypotheses), key=lambda known: known.score, default=None)

    def _decided(self, best_candidate: float) -> bool:
        best = self._best()
        if best is None:
            return False
        if len(self.hypotheses) == len(self.slots):
            worst = min(known.score for known in self.hypotheses)
            if worst >= best_candidate / self._norm(self.steps):
                return True
        # The reference goes on here. Scores are ≤ 0, so totals only fall: no open beam can win any more.
        return best.score > float(self._reachable().max())

    def _reachable(self) -> npt.NDArray[np.float64]:
        """The best score that each open beam could still close with."""
        length = self.params.max_codes if self.params.length_penalty > 0 else self.steps
        return self.totals.astype(np.float64) / self._norm(length)

    def _close_open_beams(self) -> None:
        for history, total in zip(self.histories, self.totals.tolist(), strict=True):
            self._close(Hypothesis(tuple(history.tolist()), total / self._norm(self.steps), False))
        self.finished = True

    def certain(self) -> list[int]:
        best = self._best()
        if self.finished and best is not None:
            return list(best.codes)
        contenders = self.histories[:, : self.steps]
        if best is not None:
            contenders = contenders[self._reachable() >= best.score]
        start = len(self._certain)
        same = (contenders[:, start:] == contenders[0, start:]).all(0)
        agreed = contenders[0, start : start + (len(same) if same.all() else int(same.argmin()))].tolist()
        if best is not None:
            rest = best.codes[start:]
            agreed = agreed[: _common(agreed, rest)]
        self._certain += agreed
        return self._certain

    def result(self) -> DecodedCodes:
        best = self._best()
        if not self.finished or best is None:
            raise RuntimeError("the decoding has not finished")
        return DecodedCodes(best.codes, best.stopped, best.score)


def _common(a: list[int], b: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def new_decoder(params: Params, slots: tuple[int, ...], dims: GptDims, seed: int, stream: int) -> Decoder:
    """The decoder that the parameters ask for; `seed` and `stream` are used only if they sample."""
    width = params.shortlist_width(dims.number_mel_codes)
    numbers = None
    if params.samples:
        numbers = RandomNumbers(seed, stream, beams=params.num_beams, width=width)
    kind = BeamDecoder if params.num_beams > 1 else RowDecoder
    return kind(params, slots, dims, numbers)
