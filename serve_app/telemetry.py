"""What the router reports to Prometheus (exported by Ray with the prefix `ray_`)."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ray.serve import metrics

from deployments.core.errors import CLIENT_CLOSED_REQUEST, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.metrics import StageMetrics
from deployments.core.speech import SpeechRequest, StreamEnd
from deployments.core.tracing import Attributes, tracer
from serve_app.observe.heard import HeardStream
from serve_app.observe.now import RecentSpeech
from serve_app.observe.timing import listed, to_blame

STAGES_EVERY_S = 1.0  # metrics of stages are exported no oftener
SECONDS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0]
GAPS_S = [0.001, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]
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
    """The metrics of a router. `slow_s`: a first audio that takes longer is told in the log; None: none is."""

    def __init__(self, slow_s: float | None = None) -> None:
        self.slow_s = slow_s
        self.recent = RecentSpeech()
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
        self._spent = _histogram(
            "tts_request_stage_seconds",
            "Spent on a request, by what it was spent on",
            SECONDS,
            "model",
            "stage",
        )
        self._underrun = _histogram(
            "tts_audio_underrun_seconds",
            "Silence in a stream where audio should have been; 0.001 and less is none",
            GAPS_S,
            "model",
        )
        self._profiles = _counter(
            "tts_voice_profiles", "Voices asked for, by where their profile was", "tier"
        )
        self._slow = _counter(
            "tts_slow_requests",
            "Requests whose first audio was slow, by the stage to blame",
            "model",
            "stage",
        )
        self._key_requests = _counter("tts_key_requests", "Requests by API key and outcome", "key", "code")
        self._key_chars = _counter("tts_key_characters", "Characters of text spoken, by API key", "key")
        self._key_audio = _counter("tts_key_audio_seconds", "Audio made, by API key", "key")
        self._stages = {
            field: metrics.Gauge(
                f"tts_stage_{field}",
                description=text,
                tag_keys=("model", "stage", "stage_replica"),  # type: ignore[arg-type]
            )
            for field, text in STAGE_FIELDS.items()
        }
        self._stages_exported_s: dict[str, float] = {}

    def request(self, request: SpeechRequest, model: str) -> RequestRecord:
        """For a request that has just arrived. `model`: what it asks for, until one is chosen."""
        return RequestRecord(self, request, model)

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

    def spent(self, model: str, stage_s: Mapping[str, float]) -> None:
        for stage, seconds in stage_s.items():
            self._spent.observe(seconds, tags={"model": model, "stage": stage})

    def heard(self, model: str, missed_s: float) -> None:
        self._underrun.observe(missed_s, tags={"model": model})

    def found_profile(self, tier: str) -> None:
        self._profiles.inc(tags={"tier": tier})

    def slow(self, model: str, stage: str) -> None:
        self._slow.inc(tags={"model": model, "stage": stage})

    def used(self, key_id: str, code: int, chars: int, audio_s: float) -> None:
        """By whoever has an API key."""
        self._key_requests.inc(tags={"key": key_id, "code": str(code)})
        if chars:
            self._key_chars.inc(chars, tags={"key": key_id})
        if audio_s > 0:
            self._key_audio.inc(audio_s, tags={"key": key_id})

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

    def __init__(self, telemetry: Telemetry, request: SpeechRequest, model: str) -> None:
        self.arrived_s = time.monotonic()
        self.model = model
        self.settled = False
        self._telemetry = telemetry
        self._request = request
        self._log = RequestLogger(request.request_id)
        # Nobody hears what is sent whole while it is made.
        self._listener = HeardStream() if request.stream else None
        self._first_audio_s = 0.0

    def first_audio(self, reason: str, stage_s: Mapping[str, float]) -> None:
        """`stage_s`: spent by the stages until now."""
        now_s = time.monotonic()
        took_s = self._first_audio_s = now_s - self.arrived_s
        self._telemetry.first_audio(self.model, reason, took_s)
        if (traces := tracer()) is not None:
            traces.part(
                self._request.request_id,
                "first audio",
                self.arrived_s,
                now_s,
                {"model": self.model, "reason": reason},
            )
        slow_s = self._telemetry.slow_s
        if slow_s is None or took_s <= slow_s:
            return
        # What no stage has spent is the router's own, and the way between them.
        others_s = max(0.0, took_s - sum(stage_s.values()))
        spent_s = {**stage_s, "others": others_s}
        blamed = to_blame(spent_s) or "others"
        self._telemetry.slow(self.model, blamed)
        self._log.warning(
            "slow: the first audio of model %s took %.2f s, most of it in %s (%s)",
            self.model,
            took_s,
            blamed,
            listed(spent_s),
        )

    def sent(self, audio_s: float) -> None:
        """A piece of audio goes to the client."""
        if self._listener is not None:
            self._listener.hears(audio_s)

    def finished(self, end: StreamEnd) -> None:
        self.settled = True
        took_s = time.monotonic() - self.arrived_s
        self._telemetry.finished(self.model, end.audio_s, took_s)
        if end.audio_s > 0:
            self._telemetry.recent.add(self.model, self._first_audio_s, took_s / end.audio_s)
        self._telemetry.spent(self.model, end.stage_s)
        self._count_for_key(200, len(self._request.text), end.audio_s)
        missed_s = 0.0
        if self._listener is not None:
            missed_s = self._listener.missed_s
            self._telemetry.heard(self.model, missed_s)
        fields = {
            "model": self.model,
            "audio_s": round(end.audio_s, 3),
            "first_audio_s": round(self._first_audio_s, 3),
            "took_s": round(took_s, 3),
            "missed_s": round(missed_s, 3),
            "stage_s": {stage: round(seconds, 3) for stage, seconds in end.stage_s.items()},
        }
        self._log.info(
            "model %s spoke %.2f s in %.2f s, the first after %.2f s (%s)",
            self.model,
            end.audio_s,
            took_s,
            self._first_audio_s,
            listed(end.stage_s),
            extra=fields,
        )
        self._trace({"code": 200, "audio_s": end.audio_s})

    def failed(self, error: SpeechError) -> None:
        self.settled = True
        self._telemetry.failed(self.model, error.status)
        self._count_for_key(error.status)
        self._trace({"code": error.status}, error.message)

    def closed(self) -> None:
        """Nothing more will come. A request that has neither ended nor failed was given up by its client."""
        if not self.settled:
            self._telemetry.aborted("client-left")
            self._count_for_key(CLIENT_CLOSED_REQUEST)
            self._trace({"code": CLIENT_CLOSED_REQUEST}, "the client left")

    def _count_for_key(self, code: int, chars: int = 0, audio_s: float = 0.0) -> None:
        if self._request.key_id is not None:
            self._telemetry.used(self._request.key_id, code, chars, audio_s)

    def _trace(self, attributes: Attributes, error: str = "") -> None:
        if (traces := tracer()) is not None:
            whole = {"request_id": self._request.request_id, "model": self.model, **attributes}
            traces.request(self._request.request_id, self.arrived_s, time.monotonic(), whole, error)


class HttpTelemetry:
    """The metrics of an ingress."""

    def __init__(self) -> None:
        self._answers = _counter(
            "tts_http_answers", "HTTP answers, those included that came to no model", "path", "code"
        )

    def answered(self, path: str, code: int) -> None:
        self._answers.inc(tags={"path": path, "code": str(code)})


def _counter(name: str, description: str, *tags: str) -> metrics.Counter:
    return metrics.Counter(name, description=description, tag_keys=tags)  # type: ignore[arg-type]


def _histogram(name: str, description: str, boundaries: list[float], *tags: str) -> metrics.Histogram:
    return metrics.Histogram(name, description=description, boundaries=boundaries, tag_keys=tags)  # type: ignore[arg-type]
