from __future__ import annotations

import pytest
from router_fakes import CountingTelemetry

from deployments.core.errors import Unavailable
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
