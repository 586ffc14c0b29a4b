"""Spans of several processes meet in one trace, at a receiver of OTLP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from otlp_receiver import Receiver

from deployments.core import tracing
from deployments.core.tracing import OtelTracer, tracer
from deployments.engine.meter import Meter


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def traced(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """This process sends traces to `receiver`."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    tracer.cache_clear()
    yield receiver
    tracer.cache_clear()


def test_nothing_is_sent_where_no_endpoint_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracer.cache_clear()
    assert tracer() is None
    tracer.cache_clear()


def test_parts_lie_in_the_request_they_belong_to(traced: Receiver) -> None:
    router, stage = OtelTracer(_exporter(traced)), OtelTracer(_exporter(traced))  # as in two processes
    now_s = time.monotonic()
    stage.part("the-id", "gpt", now_s - 2.0, now_s - 1.0, {"replica": "r1"})
    stage.part("another", "gpt", now_s - 2.0, now_s - 1.0, {}, "Unavailable")
    router.request("the-id", now_s - 3.0, now_s, {"model": "m", "code": 200})
    for each in (router, stage):
        each.flush()
    gpt, lost, whole = sorted(traced.spans, key=lambda span: (span.name == "speech", span.status.code))
    assert [span.name for span in (gpt, lost, whole)] == ["gpt", "gpt", "speech"]
    assert gpt.trace_id == whole.trace_id != lost.trace_id
    assert gpt.parent_span_id == whole.span_id
    assert whole.parent_span_id == b""
    assert whole.start_time_unix_nano < gpt.start_time_unix_nano < gpt.end_time_unix_nano
    assert gpt.end_time_unix_nano - gpt.start_time_unix_nano == pytest.approx(1e9, rel=1e-3)
    assert abs(whole.end_time_unix_nano / 1e9 - time.time()) < 60
    assert lost.status.message == "Unavailable"


def test_an_engine_tells_of_waiting_and_computing(traced: Receiver) -> None:
    class Job:
        request_id = "the-id"

    meter = Meter("replica-1", 4, "gpt")
    began_s = time.monotonic()
    meter.began(Job(), began_s - 0.5)
    meter.ended(Job(), began_s)
    meter.ended(Job(), began_s, RuntimeError("a bug"))
    assert (meter.finished, meter.failed) == (1, 1)
    found = tracer()
    assert isinstance(found, OtelTracer)
    found.flush()
    assert [(span.name, span.status.message) for span in traced.spans] == [
        ("gpt queue", ""),
        ("gpt", ""),
        ("gpt", "RuntimeError"),
    ]


def test_a_share_of_the_requests_is_chosen_alike_everywhere(
    traced: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tracing.SHARE, "0.5")
    router, stage = OtelTracer(_exporter(traced)), OtelTracer(_exporter(traced))
    now_s = time.monotonic()
    for number in range(40):
        stage.part(f"id-{number}", "gpt", now_s - 2.0, now_s - 1.0, {})
        router.request(f"id-{number}", now_s - 3.0, now_s, {})
    for each in (router, stage):
        each.flush()
    whole = {span.trace_id for span in traced.spans if span.name == "speech"}
    assert {span.trace_id for span in traced.spans if span.name == "gpt"} == whole
    assert 5 < len(whole) < 35


def _exporter(receiver: Receiver) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(f"{receiver.url}/v1/traces")
