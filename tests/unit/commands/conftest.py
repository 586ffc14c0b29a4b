from __future__ import annotations

from collections.abc import Iterator

import pytest
from commands_server import ToyWeb, running_web


@pytest.fixture(scope="module")
def running() -> Iterator[ToyWeb]:
    with running_web() as web:
        yield web


@pytest.fixture
def web(running: ToyWeb) -> ToyWeb:
    running.paths.clear()
    running.bodies.clear()
    running.authorizations.clear()
    return running
