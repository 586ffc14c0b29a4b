"""Which rows take part in the next step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def choose_batch(by_urgency: Sequence[T], cost: Callable[[Sequence[T]], int], limit: int) -> Sequence[T]:
    """The most urgent rows whose common cost stays within `limit`, in the order given.

    The first one always takes part, whatever it costs: nothing waits for ever. A row that does not fit lets
    cheaper ones behind it pass; it becomes the first when the rows before it end.
    """
    if len(by_urgency) < 2 or cost(by_urgency) <= limit:
        return by_urgency
    chosen = [by_urgency[0]]
    for row in by_urgency[1:]:
        if cost([*chosen, row]) <= limit:
            chosen.append(row)
    return chosen
