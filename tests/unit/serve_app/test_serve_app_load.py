"""What the policy is told of the load."""

from __future__ import annotations

import pytest
from router_fakes import ScriptedModel

from deployments.core.errors import Unavailable
from deployments.core.pipeline import Forecast
from serve_app.request_limit import RequestLimit
from serve_app.routing.decision import Load
from serve_app.routing.health import HealthMonitor
from serve_app.routing.load import RECENT, LoadMonitor
from serve_app.routing.sleep import Sleepers


def monitor(*models: ScriptedModel) -> LoadMonitor:
    pipelines = {model.name: model for model in models}
    limits = {name: RequestLimit(name, most=1, retry_after_s=1.0) for name in pipelines}
    return LoadMonitor(
        pipelines, HealthMonitor(pipelines), limits, Sleepers(pipelines, {}, lambda name: False)
    )  # type: ignore[arg-type]


def test_nothing_is_known_at_first() -> None:
    load = monitor(ScriptedModel("a")).loads()["a"]
    assert load == Load(None, None, True, False)
    assert load.expected_first_audio_s(unknown_s=2) == 2


@pytest.mark.parametrize("full", [False, True])
def test_what_the_model_expects_counts_more_than_what_was_seen(full: bool) -> None:
    one = monitor(ScriptedModel("a", expected=Forecast(first_audio_s=7.0, audio_s_per_s=3.0, full=full)))
    one.first_audio("a", 0.2)
    assert one.loads() == {"a": Load(7.0, 3.0, True, full)}


def test_the_figure_is_the_median_of_recent_requests() -> None:
    one = monitor(ScriptedModel("a"))
    for seconds in (5.0, 0.1, 0.3):
        one.first_audio("a", seconds)
    assert one.loads()["a"].first_audio_s == 0.3
    for _ in range(RECENT):
        one.first_audio("a", 0.2)
    assert one.loads()["a"].first_audio_s == 0.2


@pytest.mark.parametrize("expected", [None, Forecast(0.1, 2.0)])
def test_a_model_without_a_place_is_full(expected: Forecast | None) -> None:
    one = monitor(ScriptedModel("a", expected=expected))
    with one._limits["a"].place():
        assert one.loads()["a"].state == "full"
    assert one.loads()["a"].state == "up"


async def test_a_model_that_is_avoided_is_down() -> None:
    one = monitor(ScriptedModel("a"), ScriptedModel("b"))
    one._health.failed("a", Unavailable("gone"), waited_s=0.0, allowed_s=60.0)
    assert {name: load.state for name, load in one.loads().items()} == {"a": "down", "b": "up"}


def test_a_forecast_that_fails_concerns_no_other_model_and_is_logged_once(logged: list[str]) -> None:
    broken = ScriptedModel("a")
    broken.forecast = lambda: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    one = monitor(broken, ScriptedModel("b", expected=Forecast(0.1, 2.0)))
    for _ in range(2):
        assert one.loads() == {"a": Load(), "b": Load(0.1, 2.0)}
    assert logged == ["model a cannot say what it expects"]
