from __future__ import annotations

import pytest

from serve_app.observe import heard as module
from serve_app.observe.heard import HeardStream
from serve_app.observe.timing import listed, server_timing, to_blame


def test_server_timing_is_in_milliseconds() -> None:
    assert server_timing({"queue": 0.0012, "gpt": 0.23}, total=1.0) == (
        "queue;dur=1.2, gpt;dur=230.0, total;dur=1000.0"
    )
    assert server_timing({"a stage; of mine": 0.001}) == "a-stage--of-mine;dur=1.0"
    assert server_timing({}) == ""


def test_the_longest_is_to_blame() -> None:
    assert to_blame({"queue": 0.1, "gpt": 2.0}) == "gpt"
    assert to_blame({"queue": 0.0}) is None
    assert to_blame({}) is None
    assert listed({"queue": 0.1, "gpt": 2.0}) == "gpt 2.00 s, queue 0.10 s"


def test_a_listener_who_ran_dry_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    heard = HeardStream()
    heard.hears(1.0)  # plays until 101
    now[0] = 100.5
    heard.hears(1.0)  # plays until 102
    assert heard.missed_s == 0.0
    now[0] = 103.0
    heard.hears(1.0)  # a gap of 1 s; plays until 104
    now[0] = 104.25
    heard.hears(1.0)
    assert heard.missed_s == pytest.approx(1.25)
    assert heard.audio_s == 4.0
