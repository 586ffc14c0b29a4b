"""Traces of requests, as OpenTelemetry has them: sent by OTLP to where its own variable says, off where that is unset.

Every process derives the ids of a request's trace from the id of the request. So nothing needs to travel with the jobs,
and spans of all stages meet in one trace. Requests of the same id share it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from deployments.core.logs import logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
SHARE = "OTEL_TRACES_SAMPLER_ARG"  # of all requests; 1 where it is unset
COMMAND = "pip install 'voicegraph[tracing]'"
Attributes = Mapping[str, str | int | float | bool]

_given_ids: ContextVar[tuple[int, int]] = ContextVar("ids of the span that is begun")


class Tracer(Protocol):
    """`began_s`, `ended_s`: times of `time.monotonic()`. May be used from any thread; spans are sent by another one."""

    def request(
        self, request_id: str, began_s: float, ended_s: float, attributes: Attributes, error: str = ""
    ) -> None:
        """The whole request, in which its other spans lie."""

    def part(
        self,
        request_id: str,
        name: str,
        began_s: float,
        ended_s: float,
        attributes: Attributes,
        error: str = "",
    ) -> None:
        """A part of a request: what one stage did for it."""


@cache
def tracer() -> Tracer | None:
    """That of this process; None where no traces are wanted."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
    except ImportError:
        logger.error("traces are wanted, but the packages that send them are missing: %s", COMMAND)
        return None
    return OtelTracer(OTLPSpanExporter())


class OtelTracer:
    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._provider = _provider()
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("voicegraph")

    def request(
        self, request_id: str, began_s: float, ended_s: float, attributes: Attributes, error: str = ""
    ) -> None:
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace import SpanKind  # noqa: PLC0415

        token = _given_ids.set(_ids(request_id))
        try:
            self._span("speech", Context(), SpanKind.SERVER, began_s, ended_s, attributes, error)
        finally:
            _given_ids.reset(token)

    def part(
        self,
        request_id: str,
        name: str,
        began_s: float,
        ended_s: float,
        attributes: Attributes,
        error: str = "",
    ) -> None:
        from opentelemetry import trace  # noqa: PLC0415

        trace_id, span_id = _ids(request_id)
        whole = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(1))
        context = trace.set_span_in_context(trace.NonRecordingSpan(whole))
        self._span(name, context, trace.SpanKind.INTERNAL, began_s, ended_s, attributes, error)

    def flush(self) -> None:
        """Send what is there; blocks until it is sent."""
        self._provider.force_flush()

    def _span(
        self,
        name: str,
        context: Any,
        kind: Any,
        began_s: float,
        ended_s: float,
        attributes: Attributes,
        error: str,
    ) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        # Wall-clock time, which traces are in, minus how long ago it was.
        now_ns, now_s = time.time_ns(), time.monotonic()
        span = self._tracer.start_span(
            name, context, kind, attributes=dict(attributes), start_time=now_ns - _ns(now_s - began_s)
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(now_ns - _ns(now_s - ended_s))


def _provider() -> TracerProvider:
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import RandomIdGenerator, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased  # noqa: PLC0415

    class GivenIds(RandomIdGenerator):
        """Of the whole request those that its parts know, too."""

        def generate_trace_id(self) -> int:
            given = _given_ids.get((0, 0))[0]
            return given or super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = _given_ids.get((0, 0))[1]
            return given or super().generate_span_id()

    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "voicegraph")})
    # By the trace id alone, so that all processes choose the same requests.
    sampler = TraceIdRatioBased(_share())
    return TracerProvider(sampler=sampler, resource=resource, id_generator=GivenIds(), shutdown_on_exit=True)


def _share() -> float:
    try:
        return min(1.0, max(0.0, float(os.environ.get(SHARE, "1"))))
    except ValueError:
        logger.error(
            "%s must be a number from 0 to 1, not %r; all requests are traced", SHARE, os.environ[SHARE]
        )
        return 1.0


def _ids(request_id: str) -> tuple[int, int]:
    """Trace and span of a whole request: 128 and 64 bits, none of them 0."""
    digest = hashlib.sha256(request_id.encode()).digest()
    return int.from_bytes(digest[:16], "big") | 1, int.from_bytes(digest[16:24], "big") | 1


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
