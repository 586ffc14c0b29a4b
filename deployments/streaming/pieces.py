"""How much of a text to speak next: the largest piece that is there before the listener has heard what came before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deployments.streaming.cost import Pace
from deployments.text.clauses import Boundary
from deployments.text.cuts import LEAST_WIDTH, TORN, Cut, CutText, Segment

HORIZON_S = 8.0  # whoever is so far ahead of the listener stays ahead
GAIN = 1.15  # so many times longer than its work a piece should last: then the next one may be larger
RESERVE_UNITS = 1.5  # of a piece for which there should always be time
GOOD_PART = 0.5  # a cut at a better boundary is worth a piece of half the size


@dataclass(frozen=True, slots=True)
class PieceLimits:
    max_width: int = 200
    longest_work_s: float = 4.0  # whoever comes next waits for the piece that is being made
    patience_s: float = 4.0  # the first sound may be so much later for the sake of sound without gaps
    word_cut_after_s: float = 2.5  # a first clause that takes longer is cut between its words
    margin_s: float = 0.1  # so long before it is needed a piece should be there


class Pieces(Protocol):
    """One text, taken piece by piece. Lengths are in units of the pace: seconds that a piece is expected to last."""

    @property
    def finished(self) -> bool: ...

    @property
    def rest_s(self) -> float:
        """Of what is left."""

    def take(self, pace: Pace, available_s: float | None) -> tuple[Segment, float]:
        """The next piece and its length. `available_s`: until it is needed; None: it is the first and awaited."""

    def first_units(self, pace: Pace) -> float:
        """Length of the first piece, as things stand."""


class PiecePlanner:
    """Satisfies Pieces. `units_per_char`: seconds that a Latin character is expected to take; `pause_s`: what a natural
    pause becomes; `heard`: somebody listens while it is made, else pieces are as large as they may be."""

    def __init__(
        self,
        text: CutText,
        units_per_char: float,
        *,
        pause_s: Callable[[float], float],
        heard: bool,
        limits: PieceLimits,
    ) -> None:
        self._text = text
        self._units_per_char = units_per_char
        self._pause = pause_s
        self._heard = heard
        self._limits = limits
        self._at: Cut | None = None
        self._beginning: tuple[Pace, Cut] | None = None  # what was found last

    @property
    def rest_s(self) -> float:
        return self._units(self._width, self._text.width)

    @property
    def finished(self) -> bool:
        return self._width >= self._text.width

    @property
    def _width(self) -> int:
        return self._at.width if self._at else 0

    def take(self, pace: Pace, available_s: float | None) -> tuple[Segment, float]:
        if not self._heard:
            cut = self._largest(pace)
        elif available_s is None:
            cut = self._first(pace)
        else:
            cut = self._next(pace, self._width, available_s)
        units = self._units(self._width, cut.width)
        piece = self._text.piece(self._at, cut)
        self._at = cut
        return piece, units

    def first_units(self, pace: Pace) -> float:
        cut = self._first(pace) if self._heard else self._largest(pace)
        return self._units(0, cut.width)

    def _largest(self, pace: Pace) -> Cut:
        """The next piece for a request whose audio is awaited as a whole; others wait for what is being made."""
        candidates = self._candidates(self._width, self._limits.max_width)
        longest_s = self._limits.longest_work_s
        short = [
            cut for cut in candidates if pace.work.seconds(self._units(self._width, cut.width)) <= longest_s
        ]
        return self._best(self._width, short or candidates[:1])

    def _units(self, begin: int, end: int) -> float:
        return (end - begin) * self._units_per_char

    def _candidates(self, begin: int, max_width: int) -> list[Cut]:
        """Cuts after `begin` that make no piece wider than `max_width`, nor one of a word or two out of a clause; the
        nearest whatever it makes."""
        first = self._text.after(begin)
        end = max(first + 1, self._text.after(begin + max_width))
        found = self._text.cuts[first:end]
        paragraph = next((n for n, cut in enumerate(found) if cut.boundary is Boundary.PARAGRAPH), len(found))
        del found[paragraph + 1 :]
        wide = [cut for cut in found if cut.boundary > Boundary.NONE or cut.width - begin >= LEAST_WIDTH]
        return wide or found[-1:]

    def _first(self, pace: Pace) -> Cut:
        if self._beginning is None or self._beginning[0] != pace:
            self._beginning = pace, self._best_first(pace)
        return self._beginning[1]

    def _best_first(self, pace: Pace) -> Cut:
        """The smallest beginning after which all that follows is there in time: up to the end of a clause if the first
        sound does not suffer, else up to any word.

        Where there is none within the patience, it is the one within it that is followed by the shortest gap.
        """
        found = self._candidates(0, self._limits.max_width)
        works = [(cut, pace.work.seconds(self._units(0, cut.width))) for cut in found if cut.rank < TORN]
        clauses = [(cut, work_s) for cut, work_s in works if cut.boundary > Boundary.NONE]
        quick = [(cut, work_s) for cut, work_s in clauses if work_s <= self._limits.word_cut_after_s]
        longest_s = works[0][1] + self._limits.patience_s if works else 0.0
        patient = [(cut, work_s) for cut, work_s in works if work_s <= longest_s]
        least: tuple[float, Cut] | None = None
        for cut, _ in [*quick, *patient] or [(found[0], 0.0)]:
            gap_s = self._gap_s(pace, cut)
            if gap_s <= 0:
                return cut
            if least is None or gap_s < least[0]:
                least = gap_s, cut
        assert least is not None
        return least[1]

    def _gap_s(self, pace: Pace, first: Cut) -> float:
        """The longest gap that a listener is expected to hear after a beginning up to `first`; 0 or less: none."""
        units = self._units(0, first.width)
        buffer_s = pace.audio.seconds(units) + self._pause_s(first)
        at, worst_s = first.width, -1.0
        while at < self._text.width and buffer_s < HORIZON_S:
            cut = self._next(pace, at, buffer_s)
            units = self._units(at, cut.width)
            late_s = pace.work.at_most_s(units) + self._limits.margin_s - buffer_s
            worst_s = max(worst_s, late_s)
            left_s = max(0.0, buffer_s - pace.work.seconds(units) * (1 + pace.work.spread))
            buffer_s = left_s + pace.audio.seconds(units) * (1 - pace.audio.spread) + self._pause_s(cut)
            at = cut.width
            if at < self._text.width:
                worst_s = max(worst_s, pace.work.at_most_s(RESERVE_UNITS) + self._limits.margin_s - buffer_s)
        return worst_s

    def _next(self, pace: Pace, at: int, available_s: float) -> Cut:
        candidates = self._candidates(at, self._limits.max_width)
        works = [(cut, pace.work.seconds(self._units(at, cut.width))) for cut in candidates]
        short = [(cut, work_s) for cut, work_s in works if work_s <= self._limits.longest_work_s]
        for caution in (2.5, 1.0, 0.0):
            part = 1 + caution * pace.work.spread
            fitting = [cut for cut, work_s in short if work_s * part + self._limits.margin_s <= available_s]
            if fitting:
                gaining = [cut for cut in fitting if self._gains(pace, at, cut)]
                return self._best(at, gaining or fitting[-1:])
        return self._late(pace, at, candidates)

    def _gains(self, pace: Pace, at: int, cut: Cut) -> bool:
        """Whether the listener has more left after this piece than before."""
        units = self._units(at, cut.width)
        return pace.audio.seconds(units) + self._pause_s(cut) > GAIN * pace.work.seconds(units)

    def _late(self, pace: Pace, at: int, candidates: list[Cut]) -> Cut:
        """None will be there in time: the smallest that lasts longer than its work, so that it is late only once."""
        for cut in candidates:
            units = self._units(at, cut.width)
            if pace.audio.seconds(units) > pace.work.at_most_s(units) and (
                cut.boundary > Boundary.NONE or cut.rank < TORN
            ):
                return cut
        clauses = [cut for cut in candidates if cut.boundary > Boundary.NONE]
        return (clauses or candidates)[0]

    def _best(self, begin: int, cuts: list[Cut]) -> Cut:
        """The largest piece, or one at a better boundary that is not much smaller."""
        large = [cut for cut in cuts if cut.width - begin >= GOOD_PART * (cuts[-1].width - begin)]
        for boundary in (Boundary.SENTENCE, Boundary.CLAUSE, Boundary.COMMA):
            if good := [cut for cut in large if cut.boundary >= boundary]:
                return good[-1]
        return min(large, key=lambda cut: (cut.rank, -cut.width))

    def _pause_s(self, cut: Cut) -> float:
        if cut.asked_s is not None:
            return cut.asked_s
        return 0.0 if cut.width >= self._text.width else self._pause(self._text.pause_s(cut))


class SeededPieces:
    """Satisfies Pieces: sizes depend on the text alone, for requests that must be the same at any load. They are those
    that a planner chooses at a nominal pace for a listener who is alone."""

    def __init__(self, planner: PiecePlanner, nominal: Pace) -> None:
        self._planner = planner
        self._nominal = nominal
        self._buffer_s: float | None = None  # that the listener would have left

    @property
    def finished(self) -> bool:
        return self._planner.finished

    @property
    def rest_s(self) -> float:
        return self._planner.rest_s

    def take(self, pace: Pace, available_s: float | None) -> tuple[Segment, float]:
        segment, units = self._planner.take(self._nominal, self._buffer_s)
        work_s, audio_s = self._nominal.work.seconds(units), self._nominal.audio.seconds(units)
        left_s = 0.0 if self._buffer_s is None else max(0.0, self._buffer_s - work_s)
        self._buffer_s = left_s + audio_s + segment.pause_after_s
        return segment, units

    def first_units(self, pace: Pace) -> float:
        return self._planner.first_units(self._nominal)
