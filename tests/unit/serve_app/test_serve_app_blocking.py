"""The handle without `async`, over a graph that needs no Ray."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from deployments.core.errors import NotFound
from serve_app.blocking import BlockingVoicegraph


class Graph:
    def __init__(self) -> None:
        self.closed = False

    async def speak(self, text: str, **fields: Any) -> str:
        if fields.get("voice") == "nobody":
            raise NotFound("voice 'nobody' does not exist")
        return text

    async def stream(self, text: str, **fields: Any) -> AsyncGenerator[Any, None]:
        try:
            for word in text.split():
                yield np.full(len(word), 1.0)
        finally:
            self.closed = True


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
def blocking(graph: Graph) -> BlockingVoicegraph:
    return BlockingVoicegraph(graph)  # type: ignore[arg-type]


def test_a_call_waits_for_its_answer(blocking: BlockingVoicegraph) -> None:
    assert blocking.speak("hello") == "hello"


async def test_also_where_a_loop_runs_already(blocking: BlockingVoicegraph) -> None:
    assert blocking.speak("hello") == "hello"


def test_errors_arrive(blocking: BlockingVoicegraph) -> None:
    with pytest.raises(NotFound, match="nobody"):
        blocking.speak("hello", voice="nobody")


def test_a_stream_ends_and_is_closed(blocking: BlockingVoicegraph, graph: Graph) -> None:
    assert [len(samples) for samples in blocking.stream("one three")] == [3, 5]
    assert graph.closed


def test_leaving_early_closes_the_stream(blocking: BlockingVoicegraph, graph: Graph) -> None:
    stream = blocking.stream("one two three")
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert graph.closed
