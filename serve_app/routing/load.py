"""Live load per model, as the policy reads it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median

from deployments.core.logs import logger
from deployments.core.pipeline import Forecast, Pipeline
from serve_app.request_limit import RequestLimit
from serve_app.routing.decision import UNKNOWN_S, Load
from serve_app.routing.health import HealthMonitor
from serve_app.routing.sleep import Sleepers

RECENT = 32  # requests that the live first-audio figure looks back on


class LoadMonitor:
    """What each pipeline expects, else the median of late; whether it is up, and whether it has a place."""

    def __init__(
        self,
        pipelines: Mapping[str, Pipeline],
        health: HealthMonitor,
        limits: Mapping[str, RequestLimit],
        sleepers: Sleepers,
    ) -> None:
        self._pipelines = pipelines
        self._health = health
        self._limits = limits
        self._sleepers = sleepers
        self._first_audio_s: dict[str, deque[float]] = {name: deque(maxlen=RECENT) for name in pipelines}
        self._broken: set[str] = set()  # models whose forecast has failed, which is logged once

    def first_audio(self, model: str, seconds: float) -> None:
        self._first_audio_s[model].append(seconds)

    def loads(self) -> dict[str, Load]:
        return {name: self.load(name) for name in self._pipelines}

    def load(self, model: str) -> Load:
        if self._sleepers.asleep(model):
            usual_s = median(self._first_audio_s[model] or [UNKNOWN_S])
            return Load(self._sleepers.starts_in_s(model) + usual_s, asleep=True)
        forecast, ready, full = self._forecast(model), self._health.is_up(model), self._limits[model].reached
        if forecast is not None:
            return Load(forecast.first_audio_s, forecast.audio_s_per_s, ready, full or forecast.full)
        recent = self._first_audio_s[model]
        return Load(median(recent) if recent else None, None, ready, full)

    def _forecast(self, model: str) -> Forecast | None:
        try:
            return self._pipelines[model].forecast()
        except Exception:  # what is wrong with one model concerns requests to no other
            if model not in self._broken:
                self._broken.add(model)
                logger.exception("model %s cannot say what it expects", model)
            return None
