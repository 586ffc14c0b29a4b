from __future__ import annotations

from serve_app.routing import Load
from serve_app.telemetry import RECENT, LoadMonitor


def test_nothing_is_known_at_first() -> None:
    assert LoadMonitor({"a": 2}).loads() == {"a": Load(None, 0, 2, True)}


def test_the_figure_is_the_median_of_recent_requests() -> None:
    monitor = LoadMonitor({"a": 1})
    for seconds in (5.0, 0.1, 0.3):
        monitor.first_audio("a", seconds)
    assert monitor.loads()["a"].first_audio_s == 0.3
    for _ in range(RECENT):
        monitor.first_audio("a", 0.2)
    assert monitor.loads()["a"].first_audio_s == 0.2


def test_requests_that_had_to_wait_say_nothing_about_the_model() -> None:
    monitor = LoadMonitor({"a": 1})
    monitor.active["a"] = 2
    monitor.first_audio("a", 9.0)
    load = monitor.loads()["a"]
    assert load.first_audio_s is None
    assert load.active == 2


def test_waiting_requests_lengthen_what_a_new_one_may_expect() -> None:
    assert Load(0.2).expected_first_audio_s() == 0.2
    assert Load(0.2, active=3, capacity=2).expected_first_audio_s() == 0.5
    assert Load().expected_first_audio_s(unknown_s=2) == 2
