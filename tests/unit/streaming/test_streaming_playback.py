from __future__ import annotations

import time

import pytest

from deployments.streaming.playback import FIRST_DUE_S, Playback


def test_playback_counts_what_the_listener_still_has(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    playback = Playback()
    now[0] += 2 * FIRST_DUE_S  # who has waited long outranks nobody who listens
    assert playback.slack_s(0) == FIRST_DUE_S
    playback.expect(0, 3.0)
    playback.expect(1, 2.0)
    assert [playback.slack_s(index) for index in range(3)] == [FIRST_DUE_S, FIRST_DUE_S + 3, FIRST_DUE_S + 5]
    playback.sent(0, 1.0)
    now[0] += 0.4
    assert playback.slack_s(0) == pytest.approx(0.6)
    assert playback.slack_s(1) == pytest.approx(2.6)
    playback.complete(0)
    assert playback.slack_s(1) == pytest.approx(0.6)
    now[0] += 1.6
    assert playback.slack_s(1) == pytest.approx(-1.0)
    playback.sent(1, 0.5)
    assert playback.slack_s(1) == pytest.approx(0.5)  # the gap has been heard; what follows is later by it
    assert playback.audio_s == 1.5
