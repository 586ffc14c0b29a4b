"""State of one request's decoding: what was said, what to feed next, when to end (indextts2-front.md 7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.indextts2.gpt.draws import Codes, Draws, Scores
from deployments.indextts2.gpt.settings import DecodingSettings


@dataclass(frozen=True)
class Choice:
    """What a request does next. `codes` and `parents` have one entry per row of the request.

    Row i goes on from the history of row `parents[i]` and is fed `codes[i]`; nothing is fed once `finished`.
    """

    codes: tuple[int, ...]
    parents: tuple[int, ...]
    finished: bool


@dataclass(frozen=True)
class Outcome:
    """The codes without the stop code; `stopped` is false where the length limit cut them. May be empty."""

    codes: tuple[int, ...]
    stopped: bool
    score: float | None = None  # beam modes only


class Decoder(ABC):
    """What the ways to decode share. `slots` are the rows of cache and selection that the request holds."""

    def __init__(
        self,
        settings: DecodingSettings,
        slots: tuple[int, ...],
        stop_code: int,
        vocabulary: int,
        draws: Draws | None,
    ) -> None:
        if len(slots) != settings.num_beams:
            raise ValueError(f"{settings.num_beams} beams need as many slots, got {len(slots)}")
        self.settings = settings
        self.slots = slots
        self.stop_code = stop_code
        self.vocabulary = vocabulary
        self.draws = draws
        self.steps = 0  # scores seen so far = length of every open row
        self.finished = False

    @abstractmethod
    def advance(self, values: Scores, codes: Codes) -> Choice:
        """Take the shortlists of the request's rows, (n,S) each, best first, and choose."""

    @abstractmethod
    def certain(self) -> list[int]:
        """The codes that will be in the outcome whatever comes; only grows, and is whole when finished."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """The result; only once finished."""


class RowDecoder(Decoder):
    """One row: greedy without draws, plain sampling with them."""

    def __init__(
        self,
        settings: DecodingSettings,
        slots: tuple[int, ...],
        stop_code: int,
        vocabulary: int,
        draws: Draws | None,
    ) -> None:
        super().__init__(settings, slots, stop_code, vocabulary, draws)
        self.codes: list[int] = []
        self.stopped = False

    def advance(self, values: Scores, codes: Codes) -> Choice:
        if self.draws is None:
            code = int(codes[0, 0])
        else:
            drawn = self.draws.pick(values, codes, step=self.steps, count=1, vocabulary=self.vocabulary)
            code = int(drawn[0])
        self.steps += 1
        self.stopped = code == self.stop_code
        if not self.stopped:
            self.codes.append(code)
        self.finished = self.stopped or self.steps >= self.settings.max_codes
        return Choice((code,), (0,), self.finished)

    def certain(self) -> list[int]:
        return self.codes

    def outcome(self) -> Outcome:
        return Outcome(tuple(self.codes), self.stopped)


@dataclass(frozen=True)
class Hypothesis:
    codes: tuple[int, ...]  # without the stop code
    score: float
    stopped: bool


class BeamGroup(Decoder):
    """n rows: beam search without draws, beam sampling with them (7.3)."""

    def __init__(
        self,
        settings: DecodingSettings,
        slots: tuple[int, ...],
        stop_code: int,
        vocabulary: int,
        draws: Draws | None,
    ) -> None:
        super().__init__(settings, slots, stop_code, vocabulary, draws)
        self.totals = np.full(len(slots), -1e9, np.float32)
        self.totals[0] = 0.0
        self.histories = np.zeros((len(slots), settings.max_codes), np.int64)
        self.hypotheses: list[Hypothesis] = []
        self._certain: list[int] = []

    def advance(self, values: Scores, codes: Codes) -> Choice:
        beams = len(self.slots)
        ranked = self._candidates(values + self.totals[:, None], codes)
        parents: list[int] = []
        tokens: list[int] = []
        totals: list[float] = []
        self.steps += 1
        for rank, (total, flat) in enumerate(ranked):
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
        self.finished = self._decided(ranked[0][0])
        if not self.finished and self.steps >= self.settings.max_codes:
            self._close_open_beams()
        return Choice(tuple(tokens), tuple(parents), self.finished)

    def _candidates(self, totals: Scores, codes: Codes) -> list[tuple[float, int]]:
        """2n entries (total, row·V + code), falling; the total of one drawn outside the shortlist is −inf."""
        flat = np.arange(len(totals))[:, None] * self.vocabulary + codes
        count = self.settings.candidates
        if self.draws is None:
            flat, totals = flat.reshape(-1), totals.reshape(-1)
            best = np.lexsort((flat, -totals))[:count]
            return list(zip(totals[best].tolist(), flat[best].tolist(), strict=True))
        drawn = self.draws.pick(totals, codes, step=self.steps, count=count, vocabulary=self.vocabulary)
        known = dict(zip(flat.reshape(-1).tolist(), totals.reshape(-1).tolist(), strict=True))
        ranked = [(known.get(entry, -np.inf), entry) for entry in drawn.tolist()]
        return sorted(ranked, key=lambda candidate: -candidate[0])  # stable: equals stay in the order drawn

    def _norm(self, length: int) -> float:
        return float(length**self.settings.length_penalty)

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
        length = self.settings.max_codes if self.settings.length_penalty > 0 else self.steps
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

    def outcome(self) -> Outcome:
        best = self._best()
        if not self.finished or best is None:
            raise RuntimeError("the decoding has not finished")
        return Outcome(best.codes, best.stopped, best.score)


def _common(a: list[int], b: tuple[int, ...]) -> int:
    """Length of the common beginning."""
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length


def new_decoder(
    settings: DecodingSettings, slots: tuple[int, ...], stop_code: int, vocabulary: int, draws: Draws
) -> Decoder:
    """The decoder that the settings ask for; `draws` is used only if they sample."""
    kind = BeamGroup if settings.num_beams > 1 else RowDecoder
    return kind(settings, slots, stop_code, vocabulary, draws if settings.do_sample else None)
