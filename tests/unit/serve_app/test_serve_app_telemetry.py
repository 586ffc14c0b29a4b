from __future__ import annotations

from typing import Any

import pytest
from router_fakes import CountingTelemetry

from deployments.core.errors import DeadlineExceeded, Unavailable
from deployments.core.metrics import StageMetrics
from deployments.core.speech import SpeechRequest, StreamEnd
from serve_app import telemetry
from serve_app.telemetry import STAGE_FIELDS, STAGES_EVERY_S, RequestRecord, Telemetry


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one figure in it is the time."""
    now = [1000.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now[0])
    return now


def asked(telemetry: Telemetry, request_id: str = "the-id", **fields: Any) -> RequestRecord:
    return telemetry.request(SpeechRequest(request_id, "Hello.", **fields), "m")


def test_a_request_is_counted_once_as_what_it_was() -> None:
    counted = CountingTelemetry()
    finished, failed, late, left = (asked(counted) for _ in range(4))
    finished.finished(StreamEnd(1.0))
    failed.failed(Unavailable("down"))
    late.failed(DeadlineExceeded("no turn came"))
    for record in (finished, failed, late, left):
        record.closed()
    assert counted.codes == [("m", 200), ("m", 503), ("m", 504)]
    assert counted.reasons == ["client-left"]


def test_a_slow_first_audio_is_told_with_the_stage_to_blame(clock: list[float], logged: list[str]) -> None:
    counted = CountingTelemetry(slow_s=1.0)
    quick, slow, lost = (asked(counted, name) for name in ("quick", "slow", "lost"))
    clock[0] += 1.0
    quick.first_audio("asked", {"gpt": 0.9})
    clock[0] += 1.0
    slow.first_audio("asked", {"queue": 0.25, "gpt": 1.5})
    lost.first_audio("asked", {"queue": 0.25, "gpt": 0.5})
    assert counted.blamed == [("m", "gpt"), ("m", "others")]
    assert logged == [
        "slow: the first audio of model m took 2.00 s, most of it in gpt (gpt 1.50 s, queue 0.25 s, others 0.25 s)"
        " [request slow]",
        "slow: the first audio of model m took 2.00 s, most of it in others"
        " (others 1.25 s, gpt 0.50 s, queue 0.25 s) [request lost]",
    ]


def test_what_a_listener_misses_is_counted_where_somebody_listens(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = CountingTelemetry()
    heard, whole = asked(counted), asked(counted, stream=False)
    for record in (heard, whole):
        record.sent(1.0)
        clock[0] += 3.0
        record.sent(1.0)
        record.finished(StreamEnd(2.0, {"gpt": 1.0}))
    assert counted.missed_s == [2.0]


def test_what_a_key_is_used_for_is_counted_and_nothing_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = CountingTelemetry()
    used: list[tuple[object, ...]] = []
    monkeypatch.setattr(counted, "used", lambda *values: used.append(values))
    spoken, refused, left, free = (asked(counted, key_id=key) for key in ("a", "a", "b", None))
    spoken.finished(StreamEnd(1.5))
    refused.failed(Unavailable("down"))
    free.finished(StreamEnd(1.0))
    for record in (spoken, refused, left, free):
        record.closed()
    assert used == [("a", 200, 6, 1.5), ("a", 503, 0, 0.0), ("b", 499, 0, 0.0)]


def test_stages_are_exported_by_replica_and_at_most_once_a_second(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[tuple[str, float, str]] = []
    counted = CountingTelemetry()
    assert counted._stages.keys() == STAGE_FIELDS.keys()
    for name, gauge in counted._stages.items():
        monkeypatch.setattr(
            gauge,
            "set",
            lambda value, tags, name=name: exported.append((name, value, "/".join(tags.values()))),
        )
    stages = {"gpt": [StageMetrics("r1", rows=4, held_rows=3), StageMetrics("r2", rows=4, wait_s=0.5)]}
    counted.stages("m", stages)
    assert ("held_rows", 3, "m/gpt/r1") in exported
    assert ("wait_s", 0.5, "m/gpt/r2") in exported
    assert len(exported) == 2 * len(STAGE_FIELDS)
    counted.stages("m", stages)
    assert len(exported) == 2 * len(STAGE_FIELDS)
    counted.stages("other", stages)
    clock[0] += STAGES_EVERY_S
    counted.stages("m", stages)
    assert len(exported) == 6 * len(STAGE_FIELDS)
