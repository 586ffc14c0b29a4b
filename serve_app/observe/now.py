"""What every model is doing now, as one Router sees it: for the page, and for whoever has no Prometheus."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from deployments.core.metrics import StageMetrics
from serve_app.routing.decision import Load

RECENT = 32  # requests that the medians look back on


@dataclass(frozen=True, slots=True)
class StageNow:
    """`rows` are what its replicas can work on together; those figures are of replicas heard of within a minute."""

    replicas: int
    rows: int
    held_rows: int
    waiting_rows: int


@dataclass(frozen=True, slots=True)
class ModelNow:
    """`requests` run or wait at this Router. Medians are of the last requests; None: there were none."""

    model: str
    state: str  # up, full or down
    requests: int
    first_audio_s: float | None
    rtf: float | None
    stages: Mapping[str, StageNow]


class RecentSpeech:
    """First audio and real-time factor of the last requests, by model."""

    def __init__(self) -> None:
        self._figures: dict[str, deque[tuple[float, float]]] = {}

    def add(self, model: str, first_audio_s: float, rtf: float) -> None:
        self._figures.setdefault(model, deque(maxlen=RECENT)).append((first_audio_s, rtf))

    def medians(self, model: str) -> tuple[float | None, float | None]:
        figures = self._figures.get(model)
        if not figures:
            return None, None
        first_audio_s, rtf = zip(*figures, strict=True)
        return median(first_audio_s), median(rtf)


def model_now(
    model: str,
    load: Load,
    requests: int,
    recent: RecentSpeech,
    running: Mapping[str, int],
    heard: Mapping[str, Sequence[StageMetrics]],
) -> ModelNow:
    """`running`: replicas by stage; `heard`: what they last said of themselves, by stage."""
    first_audio_s, rtf = recent.medians(model)
    stages = {
        stage: StageNow(
            replicas=running.get(stage, len(heard.get(stage, ()))),
            rows=sum(each.rows for each in heard.get(stage, ())),
            held_rows=sum(each.held_rows for each in heard.get(stage, ())),
            waiting_rows=sum(each.waiting_rows for each in heard.get(stage, ())),
        )
        for stage in dict.fromkeys((*running, *heard))
    }
    return ModelNow(model, load.state, requests, first_audio_s, rtf, stages)
