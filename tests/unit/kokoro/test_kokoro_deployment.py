from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.metrics import StageMonitor
from deployments.engine.step_model import Outcome
from deployments.kokoro import deployment as deployment_module
from deployments.kokoro.deployment import Kokoro
from deployments.kokoro.job import KokoroJob, Spoken
from deployments.kokoro.settings import KokoroSettings
from deployments.streaming.cost import Pace, PieceCost

LINE = PieceCost(0.1, 0.1)


class FakeModel:
    """Speaks a sample for each letter."""

    pairs: PieceCost | None = LINE

    def __init__(self, directory: Path, *, threads: int, glossary: Path | None = None) -> None: ...

    def warm_up(self, languages: tuple[str, ...]) -> None: ...

    def pace(self) -> Pace:
        return Pace(LINE, PieceCost(0.0, 1.0), self.pairs)

    def width(self, job: KokoroJob) -> int:
        return 1

    def admit(self, job: KokoroJob) -> KokoroJob:
        return job

    def cost(self, rows: list[KokoroJob]) -> int:
        return len(rows)

    def step(self, rows: list[KokoroJob]) -> list[Outcome[Spoken]]:
        return [Outcome((Spoken(np.ones(len(row.text), np.float32), 0.5),), done=True) for row in rows]

    def release(self, row: KokoroJob) -> None: ...


async def replica(monkeypatch: pytest.MonkeyPatch, pairs: PieceCost | None) -> Kokoro:
    monkeypatch.setattr(deployment_module, "find_model", Path)
    monkeypatch.setattr(deployment_module, "KokoroModel", FakeModel)
    monkeypatch.setattr(FakeModel, "pairs", pairs)
    made = Kokoro.__new__(Kokoro)
    start: Any = Kokoro.__init__
    await start(made, KokoroSettings())
    return made


@pytest.mark.parametrize("pairs", [None, LINE], ids=["alone", "in pairs"])
async def test_a_replica_counts_as_one_however_many_segments_it_speaks_at_once(
    monkeypatch: pytest.MonkeyPatch, pairs: PieceCost | None
) -> None:
    kokoro, monitor = await replica(monkeypatch, pairs), StageMonitor()
    alone = pairs is None
    replies = await asyncio.gather(
        *(kokoro.synthesise(KokoroJob("a" * count, "v", alone=alone)) for count in range(1, 9))
    )
    assert [len(monitor.heard("kokoro", reply).samples) for reply in replies] == list(range(1, 9))
    assert monitor.replicas("kokoro") == 1
    last = (await kokoro.synthesise(KokoroJob("a", "v"))).metrics
    assert (last.finished, last.steps, last.rows) == (9, 9, 1 if alone else 2)
    assert last.batch_rows == 1


async def test_a_replica_tells_the_pace_it_has_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    kokoro = await replica(monkeypatch, LINE)
    assert await kokoro.pace() == Pace(LINE, PieceCost(0.0, 1.0), LINE)
    assert await kokoro.ready()
