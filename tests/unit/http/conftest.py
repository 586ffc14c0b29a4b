"""Fake services, a client of the HTTP interface over one, and a watch on what is logged as a crash."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from http_fakes import FakeService, make_client
from speaker_fake import Speaker

from deployments.core.logs import logger


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(service) as client:
        yield client


class _Lines(logging.Handler):
    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def no_errors_logged() -> Iterator[None]:
    """Fails the test where anything was logged as an error."""
    errors = _Lines(logging.ERROR)
    # Ray's loggers may not propagate to the root.
    watched = [logging.getLogger(), logger]
    for each in watched:
        each.addHandler(errors)
    try:
        yield
    finally:
        for each in watched:
            each.removeHandler(errors)
    assert not errors.lines


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines that go into Serve's log, as they come."""
    handler = _Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)
