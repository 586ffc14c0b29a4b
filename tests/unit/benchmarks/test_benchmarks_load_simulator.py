"""Listeners in virtual time."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.chunk_simulator import PRESETS
from benchmarks.load_simulator import in_virtual_time, simulate
from deployments.indextts2.stream.chunk_planner import ChunkParameters
from deployments.streaming.admission import StreamAdmission
from serve_app.bench.arrivals import ClosedLoop, OpenLoop


def test_an_hour_takes_no_time() -> None:
    async def sleep() -> float:
        await asyncio.gather(*(asyncio.sleep(3600 / count) for count in (1, 2, 3)))
        return time.monotonic()

    began = time.monotonic()
    assert in_virtual_time(sleep) == pytest.approx(3600)
    assert time.monotonic() - began < 5


def test_a_deadlock_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="never happen"):
        in_virtual_time(wait)


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "cores"), [("h200", 3), ("cpu-nano", 2)])
def test_half_load_plays_without_gaps(preset: str, cores: int) -> None:
    costs, parameters = PRESETS[preset], ChunkParameters()
    busy = simulate(costs, parameters, ClosedLoop(6, 20), cores=cores).summary
    load = OpenLoop(0.5 * busy.requests_per_s, 60 / busy.requests_per_s, seed=3)
    found = simulate(costs, parameters, load, cores=cores)
    assert found.summary.c100 == 1.0
    assert found.summary.failed == 0
    assert found.mel_work_s > 0


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "cores"), [("h200", 3), ("cpu-nano", 2)])
def test_waiting_for_a_turn_costs_little_throughput_and_no_gaps(
    preset: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a crowd in which all begin at once."""
    costs, parameters = PRESETS[preset], ChunkParameters()
    busy = simulate(costs, parameters, ClosedLoop(6, 60), cores=cores).summary
    monkeypatch.setattr(StreamAdmission, "_may_begin", lambda *_: True)
    all_at_once = simulate(costs, parameters, ClosedLoop(6, 60), cores=cores).summary
    assert busy.audio_s_per_s >= 0.85 * all_at_once.audio_s_per_s
    assert busy.c100 is not None
    assert busy.c100 >= 0.97
