"""A scripted service, a client of the HTTP interface over it, and a watch on what is logged as a crash."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from api_fake import FakeService, make_client


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
async def client(service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(service) as client:
        yield client


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture
def no_errors_logged() -> Iterator[None]:
    """Fails the test where anything was logged as an error."""
    errors = _Errors()
    # Ray's loggers may not propagate to the root.
    watched = [logging.getLogger(), logging.getLogger("ray.serve")]
    for logger in watched:
        logger.addHandler(errors)
    try:
        yield
    finally:
        for logger in watched:
            logger.removeHandler(errors)
    assert not errors.messages
