"""A router over scripted models, and what is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from router_fakes import Route, routed

from deployments.core.logs import logger


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Route:
    """await route(*models, **limits) -> a router over them."""
    return partial(routed, monkeypatch, tmp_path / "voices")


@pytest.fixture(autouse=True)
async def no_probe_goes_on() -> AsyncIterator[None]:
    """A router watches its models, and asks those that are down, until its process ends; the loop of the tests goes
    on."""
    yield
    endless = ("HealthMonitor._probe", "HealthMonitor.watch")
    probes = [task for task in asyncio.all_tasks() if any(name in repr(task.get_coro()) for name in endless)]
    for task in probes:
        task.cancel()
    await asyncio.gather(*probes, return_exceptions=True)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines that go into Serve's log, as they come."""
    handler = _Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)
