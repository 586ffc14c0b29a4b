"""Two results of the same items, item by item: differences with bootstrap intervals."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.quality import EvalError
from serve_app.quality.figures import FIGURES, Figure, Floats
from serve_app.quality.result import ItemResult, Result

DRAWS = 10_000
SEED = 0
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """From `before` to `after` over the `pairs` that both have; for figures of time `change` is after / before.

    `low` and `high` bound the change in 95 % of the resamplings.
    """

    figure: str
    pairs: int
    before: float
    after: float
    change: float
    low: float
    high: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval excludes "no change"."""
        same = 1.0 if _figure(self.figure).of_time else 0.0
        return not self.low <= same <= self.high


def compare(before: Result, after: Result) -> list[Change]:
    """Changes of all figures that both results have. EvalError where the items are not the same."""
    check_comparable(before, after)
    found = (_change(figure, before.items, after.items) for figure in FIGURES)
    return [change for change in found if change is not None]


def check_comparable(before: Result, after: Result) -> None:
    if before.same_items == after.same_items:
        return
    theirs = [f"{len(result.items)} of {result.chosen.get('name', '?')}" for result in (before, after)]
    differing = (a[0] for a, b in zip(before.same_items, after.same_items, strict=False) if a != b)
    first = next(differing, None)
    at = f"; the first that differs has the id {first}" if first is not None else ""
    raise EvalError(
        f"{before.name} ({theirs[0]}) and {after.name} ({theirs[1]}) did not speak the same items{at}; "
        "compare results of one set with the same --count"
    )


def _change(figure: Figure, before: Sequence[ItemResult], after: Sequence[ItemResult]) -> Change | None:
    pairs = [
        (a, b)
        for one, other in zip(before, after, strict=True)
        if (a := figure.parts(one)) is not None and (b := figure.parts(other)) is not None
    ]
    if not pairs:
        return None
    old, new = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    drawn = _draws(len(pairs))
    changes = _between(figure, figure.value(old[drawn]), figure.value(new[drawn]))
    low, high = np.quantile(changes, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    was, now = figure.value(old), figure.value(new)
    return Change(
        figure=figure.name,
        pairs=len(pairs),
        before=float(was),
        after=float(now),
        change=float(_between(figure, was, now)),
        low=float(low),
        high=float(high),
    )


def _between(figure: Figure, before: Floats, after: Floats) -> Floats:
    return after / before if figure.of_time else after - before


@lru_cache(maxsize=4)
def _draws(count: int) -> NDArray[np.int64]:
    """(draws, count) numbers of items, drawn with replacement.

    By Python's generator, whose numbers are promised to stay the same in every version: reports are regenerated
    and compared.
    """
    uniform = random.Random(SEED).random
    drawn = np.array([uniform() for _ in range(DRAWS * count)]).reshape(DRAWS, count)
    return (drawn * count).astype(np.int64)


def _figure(name: str) -> Figure:
    return next(figure for figure in FIGURES if figure.name == name)


def comparison(before: Result, after: Result) -> dict[str, Any]:
    """The JSON of a comparison."""
    sides = {
        side: {"name": result.name, "time": result.time, "commit": result.commit, "settings": result.settings}
        for side, result in (("before", before), ("after", after))
    }
    return {
        "kind": "voicegraph-eval-comparison",
        **sides,
        "set": before.chosen,
        "resampled": "items",
        "draws": DRAWS,
        "seed": SEED,
        "confidence": CONFIDENCE,
        "changes": [
            {**asdict(change), "beyond_chance": change.beyond_chance} for change in compare(before, after)
        ],
    }
