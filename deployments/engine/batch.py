"""Which rows take part in a step: the most urgent, and those that cost them nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from deployments.streaming.cost import PieceCost

AT_EASE_S = 2.0  # whose listener has so much left is in no hurry
KEEPS_UP = 0.85  # part of the audio that a step makes which the step may take, so that nobody falls behind
UNKNOWN = PieceCost(1e-3, 0.0)  # a step before any was measured: all join

T = TypeVar("T")


class Pacing(Protocol):
    """What is known of a row: `due_s`, when its listener needs what it makes next, and `made_s`, the audio that its
    last step made; 0 where steps make no audio."""

    due_s: float
    made_s: float


PacingT = TypeVar("PacingT", bound=Pacing)


def choose_batch(by_urgency: Sequence[T], cost: Callable[[Sequence[T]], int], limit: int) -> list[T]:
    """The most urgent rows whose common cost stays within `limit`, in the order given.

    The first one always takes part, whatever it costs: nothing waits for ever. A row that does not fit lets
    cheaper ones behind it pass; it becomes the first when the rows before it end.
    """
    if len(by_urgency) < 2 or cost(by_urgency) <= limit:
        return list(by_urgency)
    chosen = [by_urgency[0]]
    for row in by_urgency[1:]:
        if cost([*chosen, row]) <= limit:
            chosen.append(row)
    return chosen


def without_idlers(
    batch: Sequence[PacingT], cost: Callable[[Sequence[PacingT]], int], step: PieceCost, now_s: float
) -> list[PacingT]:
    """`batch`, by urgency, without the rows at ease that would make a step too long for those in a hurry.

    As long as a step takes less than the audio it makes, nobody falls behind and all join: always so on a GPU.
    """
    hurried = [row for row in batch if row.due_s - now_s < AT_EASE_S]
    if not hurried or len(hurried) == len(batch):
        return list(batch)
    made_s = min(row.made_s for row in hurried)
    if made_s <= 0:  # a prefix, or a stage that makes no audio step by step
        return list(batch)
    chosen = hurried
    for row in batch[len(hurried) :]:
        if step.seconds(cost([*chosen, row])) > KEEPS_UP * made_s:
            break
        chosen.append(row)
    return chosen
