from __future__ import annotations

from typing import Any

import pytest
from router_fakes import CountingTelemetry, ScriptedModel

from deployments.core.errors import Unavailable
from deployments.core.metrics import StageMetrics
from deployments.core.pipeline import Forecast
from deployments.core.speech import StreamEnd
from serve_app import telemetry
from serve_app.routing import Load
from serve_app.telemetry import DOWN_S, FAILURES_IN_A_ROW, RECENT, STAGE_FIELDS, STAGES_EVERY_S, LoadMonitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one figure in it is the time."""
    now = [1000.0]
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now[0])
    return now


def monitor(expected: Forecast | None = None) -> LoadMonitor:
    models: Any = {"a": ScriptedModel("a", expected=expected)}
    return LoadMonitor(models)


def test_nothing_is_known_at_first() -> None:
    load = monitor().loads()["a"]
    assert load == Load(None, None, True)
    assert load.expected_first_audio_s(unknown_s=2) == 2


def test_what_the_model_expects_counts_more_than_what_was_seen() -> None:
    one = monitor(Forecast(first_audio_s=7.0, audio_s_per_s=3.0))
    one.first_audio("a", 0.2)
    assert one.loads() == {"a": Load(7.0, 3.0, True)}


def test_the_figure_is_the_median_of_recent_requests() -> None:
    one = monitor()
    for seconds in (5.0, 0.1, 0.3):
        one.first_audio("a", seconds)
    assert one.loads()["a"].first_audio_s == 0.3
    for _ in range(RECENT):
        one.first_audio("a", 0.2)
    assert one.loads()["a"].first_audio_s == 0.2


def test_a_model_is_down_for_a_while_after_failures_in_a_row(clock: list[float]) -> None:
    one = monitor()
    for _ in range(FAILURES_IN_A_ROW - 1):
        one.failed("a")
    one.answered("a")
    for _ in range(FAILURES_IN_A_ROW - 1):
        one.failed("a")
    assert one.loads()["a"].ready
    one.failed("a")
    assert not one.loads()["a"].ready
    clock[0] += DOWN_S
    assert one.loads()["a"].ready
    one.not_ready("a")
    assert not one.loads()["a"].ready
    one.answered("a")
    assert one.loads()["a"].ready


def test_a_request_is_counted_once_as_what_it_was() -> None:
    counted = CountingTelemetry()
    finished, failed, left = counted.request(), counted.request(), counted.request()
    finished.model = failed.model = "a"
    finished.finished(StreamEnd(1.0))
    failed.failed(Unavailable("down"))
    for record in (finished, failed, left):
        record.closed()
    assert counted.codes == [("a", 200), ("a", 503)]
    assert counted.reasons == ["client-left"]


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
