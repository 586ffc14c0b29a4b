from __future__ import annotations

import pytest
from router_fakes import CountingTelemetry

from deployments.core.errors import DeadlineExceeded, Unavailable
from deployments.core.metrics import StageMetrics
from deployments.core.speech import StreamEnd
from serve_app import telemetry
from serve_app.telemetry import STAGE_FIELDS, STAGES_EVERY_S


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one figure in it is the time."""
    now = [1000.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now[0])
    return now


def test_a_request_is_counted_once_as_what_it_was() -> None:
    counted = CountingTelemetry()
    finished, failed, late, left = (counted.request("id", "a", listens=True) for _ in range(4))
    finished.finished(StreamEnd(1.0))
    failed.failed(Unavailable("down"))
    late.failed(DeadlineExceeded("no turn came"))
    for record in (finished, failed, late, left):
        record.closed()
    assert counted.codes == [("a", 200), ("a", 503), ("a", 504)]
    assert counted.reasons == ["client-left"]


def test_a_slow_first_audio_is_told_with_the_stage_to_blame(clock: list[float], logged: list[str]) -> None:
    counted = CountingTelemetry(slow_s=1.0)
    quick, slow, lost = (counted.request(name, "m", listens=True) for name in ("quick", "slow", "lost"))
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
    heard, whole = counted.request("a", "m", listens=True), counted.request("b", "m", listens=False)
    for record in (heard, whole):
        record.sent(1.0)
        clock[0] += 3.0
        record.sent(1.0)
        record.finished(StreamEnd(2.0, {"gpt": 1.0}))
    assert counted.missed_s == [2.0]


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
