"""Counters and histograms of the router, exported by Ray with the prefix `ray_` (names: specs/http-api.md 5)."""

from __future__ import annotations

from collections import deque
from statistics import median

from ray.serve import metrics

from serve_app.routing import Load

RECENT = 32  # requests that the live first-audio figure looks back on
SECONDS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]
RATIOS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0]


def _counter(name: str, description: str, *tags: str) -> metrics.Counter:
    return metrics.Counter(name, description=description, tag_keys=tags)  # type: ignore[arg-type]


def _histogram(name: str, description: str, boundaries: list[float], *tags: str) -> metrics.Histogram:
    return metrics.Histogram(name, description=description, boundaries=boundaries, tag_keys=tags)  # type: ignore[arg-type]


class LoadMonitor:
    """Live load per model, as the routing policy reads it. Figures of waiting requests are left out of the median."""

    def __init__(self, capacities: dict[str, int]) -> None:
        self._capacities = capacities
        self._first_audio_s: dict[str, deque[float]] = {name: deque(maxlen=RECENT) for name in capacities}
        self.active = dict.fromkeys(capacities, 0)
        self.ready = dict.fromkeys(capacities, True)

    def first_audio(self, model: str, seconds: float) -> None:
        if self.active[model] <= self._capacities[model]:
            self._first_audio_s[model].append(seconds)

    def loads(self) -> dict[str, Load]:
        return {
            name: Load(
                first_audio_s=median(recent) if (recent := self._first_audio_s[name]) else None,
                active=self.active[name],
                capacity=capacity,
                ready=self.ready[name],
            )
            for name, capacity in self._capacities.items()
        }


class Telemetry:
    """What the router reports to Prometheus."""

    def __init__(self) -> None:
        self._requests = _counter("tts_requests", "Requests by outcome", "model", "code")
        self._decisions = _counter(
            "tts_router_decisions", "Models chosen, with the reason", "model", "reason"
        )
        self._fallbacks = _counter("tts_fallbacks", "Requests moved to another model", "model")
        self._aborted = _counter("tts_stream_aborted", "Streams that did not end", "reason")
        self._in_flight = metrics.Gauge("tts_requests_in_flight", description="Requests running or waiting")
        self._first_audio = _histogram(
            "tts_audio_ttfa_seconds", "Time to first audio at the router", SECONDS, "model", "reason"
        )
        self._audio = _histogram("tts_audio_duration_seconds", "Audio made per request", SECONDS, "model")
        self._latency = _histogram("tts_request_latency_seconds", "Whole requests", SECONDS, "model")
        self._rtf = _histogram("tts_audio_rtf", "Time per second of audio", RATIOS, "model")

    def decided(self, model: str, reason: str) -> None:
        self._decisions.inc(tags={"model": model, "reason": reason})

    def fell_back(self, model: str) -> None:
        self._fallbacks.inc(tags={"model": model})

    def in_flight(self, count: int) -> None:
        self._in_flight.set(count)

    def first_audio(self, model: str, reason: str, seconds: float) -> None:
        self._first_audio.observe(seconds, tags={"model": model, "reason": reason})

    def finished(self, model: str, audio_s: float, seconds: float) -> None:
        self._requests.inc(tags={"model": model, "code": "200"})
        self._audio.observe(audio_s, tags={"model": model})
        self._latency.observe(seconds, tags={"model": model})
        if audio_s > 0:
            self._rtf.observe(seconds / audio_s, tags={"model": model})

    def failed(self, model: str, code: int) -> None:
        self._requests.inc(tags={"model": model, "code": str(code)})

    def aborted(self, reason: str) -> None:
        self._aborted.inc(tags={"reason": reason})
