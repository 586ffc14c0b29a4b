"""What a unit of work takes by how many are at work, learnt from every unit."""

from __future__ import annotations

WEIGHT = 0.2  # of a new observation: five forget half of what was before
SLOW = 0.02  # of one about how crowds matter, which is in the nature of the work
# Variance of the number at work that the crowding assumed at first is worth, against one unit seen.
PRIOR = 0.3
OUTLIER = 5.0  # times what was expected: a stall says little about the next unit


class CrowdCost:
    """Seconds per unit of work for any number at work: base * (1 + crowding * (number - 1)), both learnt.

    What takes turns has a crowding of 1, what batches freely 0. With it a sudden crowd is foreseen, and its end; a
    plain mean would learn of a crowd when the first listeners have run dry.
    """

    def __init__(self, unit_s: float, crowding: float = 1.0) -> None:
        self._base_s = unit_s
        self.crowding = self._assumed = crowding
        self._x = self._y = self._xx = self._xy = 0.0
        self._weight = 0.0

    def at(self, crowd: float) -> float:
        return self._base_s * self._factor(crowd)

    def _factor(self, crowd: float) -> float:
        return 1 + self.crowding * max(0.0, crowd - 1)

    def observe(self, unit_s: float, crowd: float, weight: float = 1.0) -> None:
        """`weight`: below 1 for work that was too short to tell much."""
        if unit_s <= 0 or weight <= 0:
            return
        if self._weight >= 1:
            unit_s = min(unit_s, OUTLIER * self.at(crowd))
        more = max(0.0, crowd - 1)
        self._weight += weight
        share = max(SLOW * weight, weight / self._weight)
        self._x, self._y = mixed(self._x, more, share), mixed(self._y, unit_s, share)
        self._xx, self._xy = mixed(self._xx, more * more, share), mixed(self._xy, more * unit_s, share)
        self.crowding = self._fitted()
        self._base_s = mixed(self._base_s, unit_s / self._factor(crowd), WEIGHT * weight)

    def _fitted(self) -> float:
        """Slope over the value at one of the line through what was seen, which leans on the one assumed."""
        prior = PRIOR / self._weight
        alone_s = self._y / (1 + self._assumed * self._x)  # by the line assumed
        covariance = self._xy - self._x * self._y + prior * self._assumed * alone_s
        slope = covariance / (self._xx - self._x * self._x + prior)
        alone_s = self._y - slope * self._x
        return 1.0 if alone_s <= slope else max(0.0, slope / alone_s)


def mixed(before: float, seen: float, weight: float) -> float:
    """A running mean."""
    return before + weight * (seen - before)
