"""How many streams of each model there are, as a Router tells Serve's autoscaler and the policy reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.core.metrics import scaling_stats
from serve_app.scaling.settings import STREAMS_PER_ROUTER

SPEAKING, WAITING = "speaking/", "waiting/"  # before the name of a model, in what a Router reports


@dataclass(frozen=True, slots=True)
class Crowd:
    """Streams of one model at all Routers, averages over the look-back period."""

    speaking: float = 0.0
    waiting: float = 0.0  # for their first audio: their turn comes when the model keeps up with them, too

    @property
    def held(self) -> float:
        return self.speaking + self.waiting


def crowd_stats(held: Mapping[str, int], speaking: Mapping[str, int]) -> dict[str, float]:
    """What a Router reports: of every model the requests that it holds, and those of them that are heard."""
    stats = scaling_stats(sum(held.values()), STREAMS_PER_ROUTER)
    for model, count in held.items():
        heard = min(count, speaking.get(model, 0))
        stats[SPEAKING + model], stats[WAITING + model] = float(heard), float(count - heard)
    return stats


def crowds(reported: Mapping[str, Mapping[Any, float]]) -> dict[str, Crowd]:
    """By model, from what all Routers reported: metric -> Router -> mean."""
    models = [name.removeprefix(SPEAKING) for name in reported if name.startswith(SPEAKING)]
    return {
        model: Crowd(sum(reported[SPEAKING + model].values()), sum(reported[WAITING + model].values()))
        for model in models
    }
