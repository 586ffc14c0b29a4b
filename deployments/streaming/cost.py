"""What a piece of work takes by its length, learnt from every piece that was made."""

from __future__ import annotations

from dataclasses import dataclass, replace

MEMORY = 0.95  # weight of the past: some twenty pieces are remembered
SEED_WEIGHT = 4.0  # pieces that a measurement at the start counts for
SEED_LENGTHS = (1.0, 6.0)  # of those pieces
LEAST_SPREAD, LARGEST_SPREAD = 0.03, 0.3


@dataclass(frozen=True, slots=True)
class PieceCost:
    """A straight line: `base_s` for any piece, and `unit_s` for each second that it was expected to last."""

    base_s: float
    unit_s: float
    spread: float = 0.1  # how far pieces lie from the line, as a part of it

    def seconds(self, units: float) -> float:
        return self.base_s + self.unit_s * units

    def at_most_s(self, units: float) -> float:
        """What most pieces stay below."""
        return self.seconds(units) * (1 + 2.5 * self.spread)


class CostMeter:
    """Least squares over the last pieces, which begins with `seed` as if it had been seen at two lengths."""

    def __init__(self, seed: PieceCost) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self._spread = seed.spread
        for length in SEED_LENGTHS:
            self._add(length, seed.seconds(length), SEED_WEIGHT / 2)
        self.cost = seed

    def observe(self, units: float, seconds: float) -> None:
        """A piece of `units` took `seconds`."""
        if units <= 0 or seconds <= 0:
            return
        off = abs(seconds / max(1e-9, self.cost.seconds(units)) - 1)
        self._spread += (1 - MEMORY) * 2 * (min(off, 1.0) - self._spread)
        self._weight *= MEMORY
        self._x *= MEMORY
        self._y *= MEMORY
        self._xx *= MEMORY
        self._xy *= MEMORY
        self._add(units, seconds, 1.0)
        self.cost = self._line()

    def _add(self, x: float, y: float, weight: float) -> None:
        self._weight += weight
        self._x += weight * x
        self._y += weight * y
        self._xx += weight * x * x
        self._xy += weight * x * y

    def _line(self) -> PieceCost:
        """The line through what was seen; neither of its parts is below zero."""
        x, y = self._x / self._weight, self._y / self._weight
        variance = self._xx / self._weight - x * x
        slope = self.cost.unit_s if variance < 1e-6 else (self._xy / self._weight - x * y) / variance
        slope = min(max(slope, 0.0), y / x)
        spread = min(LARGEST_SPREAD, max(LEAST_SPREAD, self._spread))
        return PieceCost(y - slope * x, slope, spread)


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a piece by its expected length: the work for it, and how long it is heard."""

    work: PieceCost
    audio: PieceCost
    pairs: PieceCost | None = None  # the work where two are made side by side; None: that gains nothing
    recent: float = 0.0  # work for a second of audio in the last pieces, which may have been short

    def of_turn(self, *, alone: bool) -> Pace:
        """With the work for pieces that are made alone, or side by side, as the only work."""
        return self if alone or self.pairs is None else replace(self, work=self.pairs)

    @property
    def work_per_audio(self) -> float:
        """Seconds of work for a second of audio, in pieces of usual length, with all that can work at the same time."""
        usual = self.work.seconds(USUAL_PIECE_S)
        if self.pairs is not None:
            usual = min(usual, self.pairs.seconds(USUAL_PIECE_S) / 2)
        return max(self.recent, usual / max(0.1, self.audio.seconds(USUAL_PIECE_S)))


USUAL_PIECE_S = 3.0


class LearntPace:
    """The pace of one stage with one kind of text: `measured` at the start, and corrected by every piece."""

    def __init__(self, measured: Pace) -> None:
        self.pace = measured
        self.pieces = 0
        self._work = CostMeter(measured.work)
        self._audio = CostMeter(measured.audio)
        self._pairs = None if measured.pairs is None else CostMeter(measured.pairs)
        self._made_s = SEED_WEIGHT * USUAL_PIECE_S
        self._worked_s = self._made_s * measured.work_per_audio

    def expected(self, units: float, *, alone: bool = True) -> tuple[float, float]:
        """Work for a piece, and the length it will be heard."""
        pairs = self.pace.pairs
        work = self.pace.work if alone or pairs is None else pairs
        return work.seconds(units), self.pace.audio.seconds(units)

    def observe(self, units: float, work_s: float, audio_s: float, *, alone: bool) -> None:
        self.pieces += 1
        meter = self._work if alone or self._pairs is None else self._pairs
        meter.observe(units, work_s)
        self._audio.observe(units, audio_s)
        places = 1 if alone else 2
        self._made_s = MEMORY * self._made_s + audio_s
        self._worked_s = MEMORY * self._worked_s + work_s / places
        pairs = None if self._pairs is None else self._pairs.cost
        self.pace = Pace(self._work.cost, self._audio.cost, pairs, self._worked_s / self._made_s)
