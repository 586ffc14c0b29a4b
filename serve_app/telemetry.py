"""What the router reports to Prometheus (exported by Ray with the prefix `ray_`)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ray.serve import metrics

from deployments.core.errors import SpeechError
from deployments.core.metrics import StageMetrics
from deployments.core.speech import StreamEnd

STAGES_EVERY_S = 1.0  # metrics of stages are exported no oftener
SECONDS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]
RATIOS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 5.0]
# Fields of StageMetrics that are exported as `tts_stage_<field>`.
STAGE_FIELDS = {
    "rows": "Rows that a replica can work on together",
    "held_rows": "Rows in use",
    "waiting_rows": "Rows that wait",
    "refused": "Jobs refused since the start of the replica",
    "failed": "Jobs that failed since the start of the replica",
    "batch_rows": "Rows per step, running mean",
    "step_s": "Seconds per step, running mean",
    "wait_s": "Seconds from arrival to the first step, running mean",
    "service_s": "Seconds from the first step to the end, running mean",
}


class Telemetry:
    """The metrics of a router."""

    def __init__(self) -> None:
        self._requests = _counter("tts_requests", "Requests by outcome", "model", "code")
        self._decisions = _counter(
            "tts_router_decisions", "Models tried for a request, with the reason", "model", "reason"
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
        self._stages = {
            field: metrics.Gauge(
                f"tts_stage_{field}",
                description=text,
                tag_keys=("model", "stage", "stage_replica"),  # type: ignore[arg-type]
            )
            for field, text in STAGE_FIELDS.items()
        }
        self._stages_exported_s: dict[str, float] = {}

    def request(self) -> RequestRecord:
        """For a request that has just arrived."""
        return RequestRecord(self)

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

    def stages(self, model: str, stages: Mapping[str, list[StageMetrics]]) -> None:
        """Export what the stages of a model last said of themselves, at most once a second."""
        now_s = time.monotonic()
        if now_s - self._stages_exported_s.get(model, -STAGES_EVERY_S) < STAGES_EVERY_S:
            return
        self._stages_exported_s[model] = now_s
        for stage, replicas in stages.items():
            for found in replicas:
                tags = {"model": model, "stage": stage, "stage_replica": found.replica}
                for field, gauge in self._stages.items():
                    gauge.set(getattr(found, field), tags=tags)


class RequestRecord:
    """What becomes of one request: finished, failed with a status, or left by its client."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.arrived_s = time.monotonic()
        self.model = "none"  # until one was chosen
        self.settled = False
        self._telemetry = telemetry

    def first_audio(self, reason: str) -> None:
        self._telemetry.first_audio(self.model, reason, time.monotonic() - self.arrived_s)

    def finished(self, end: StreamEnd) -> None:
        self.settled = True
        self._telemetry.finished(self.model, end.audio_s, time.monotonic() - self.arrived_s)

    def failed(self, error: SpeechError) -> None:
        self.settled = True
        self._telemetry.failed(self.model, error.status)

    def closed(self) -> None:
        """Nothing more will come. A request that has neither ended nor failed was given up by its client."""
        if not self.settled:
            self._telemetry.aborted("client-left")


def _counter(name: str, description: str, *tags: str) -> metrics.Counter:
    return metrics.Counter(name, description=description, tag_keys=tags)  # type: ignore[arg-type]


def _histogram(name: str, description: str, boundaries: list[float], *tags: str) -> metrics.Histogram:
    return metrics.Histogram(name, description=description, boundaries=boundaries, tag_keys=tags)  # type: ignore[arg-type]
