from __future__ import annotations

import pickle

import pytest

from deployments.core.metrics import FORGOTTEN_AFTER_S, Reply, StageMetrics, StageMonitor


@pytest.fixture
def now() -> list[float]:
    """The one figure in it is the time."""
    return [1000.0]


@pytest.fixture
def monitor(now: list[float]) -> StageMonitor:
    return StageMonitor(lambda: now[0])


def reply(replica: str, rows: int, value: str = "audio") -> Reply[str]:
    return Reply(value, StageMetrics(replica, rows))


def test_a_reply_gives_its_value_and_is_taken_note_of(monitor: StageMonitor) -> None:
    assert monitor.heard("gpt", reply("a", 4, "codes")) == "codes"
    assert monitor.stages() == {"gpt": [StageMetrics("a", 4)]}


def test_rows_are_those_of_all_replicas(monitor: StageMonitor) -> None:
    assert monitor.rows("gpt", otherwise=7) == 7
    for replica, rows in (("a", 4), ("b", 2), ("a", 3)):
        monitor.heard("gpt", reply(replica, rows))
    monitor.heard("s2mel", reply("a", 50))
    assert monitor.rows("gpt", otherwise=7) == 5
    assert monitor.rows("vocoder", otherwise=7) == 7


def test_what_was_not_heard_of_for_a_minute_is_forgotten(monitor: StageMonitor, now: list[float]) -> None:
    monitor.heard("gpt", reply("a", 4))
    now[0] += FORGOTTEN_AFTER_S / 2
    monitor.heard("gpt", reply("b", 2))
    now[0] += FORGOTTEN_AFTER_S / 2
    assert monitor.rows("gpt", otherwise=7) == 6
    now[0] += 1
    assert monitor.rows("gpt", otherwise=7) == 2
    now[0] += FORGOTTEN_AFTER_S
    assert monitor.rows("gpt", otherwise=7) == 7
    assert monitor.stages() == {"gpt": []}
    monitor.heard("gpt", reply("a", 4))
    assert monitor.rows("gpt", otherwise=7) == 4


def test_replies_cross_processes() -> None:
    one = Reply("value", StageMetrics("a", 4, held_rows=2, step_s=0.01))
    assert pickle.loads(pickle.dumps(one)) == one
