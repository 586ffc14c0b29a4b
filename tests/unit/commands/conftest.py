from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from commands_server import ToyWeb, running_web


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """`serve` switches Ray by the environment, which later tests must not inherit."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


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
