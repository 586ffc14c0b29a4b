"""A job on its way through a step engine, and how results get from the engine's thread to its event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from deployments.core.deadline import Deadline
from deployments.engine.step_model import Job, Out


@dataclass(frozen=True, slots=True)
class End:
    """Last item of every inbox; without an error the outputs are complete."""

    error: Exception | None = None


@dataclass(eq=False, slots=True)
class EngineRequest(Generic[Job, Out]):
    job: Job
    width: int
    arrived_s: float
    due_s: float  # when a listener needs what comes next
    deadline: Deadline  # after which nobody wants it any more
    number: int
    loop: asyncio.AbstractEventLoop
    inbox: asyncio.Queue[Out | End] = field(default_factory=asyncio.Queue)
    left: bool = False  # the caller is gone
    admitted_s: float | None = None
    row: Any = None  # the model's, once admitted
    made_s: float = 0.0  # audio that its last step made

    @property
    def urgency(self) -> tuple[float, int]:
        """Orders requests: the earliest due first, then the first to arrive."""
        return self.due_s, self.number


class Outbox:
    """Gathers items for inboxes and wakes each event loop once for all of them."""

    def __init__(self) -> None:
        self._items: defaultdict[asyncio.AbstractEventLoop, list[tuple[EngineRequest[Any, Any], Any]]]
        self._items = defaultdict(list)

    def add(self, request: EngineRequest[Any, Out], *items: Out | End) -> None:
        if items:
            self._items[request.loop] += ((request, item) for item in items)

    def send(self) -> None:
        for loop, items in self._items.items():
            _post(loop, items)
        self._items.clear()


def _post(loop: asyncio.AbstractEventLoop, items: Sequence[tuple[EngineRequest[Any, Any], Any]]) -> None:
    try:
        loop.call_soon_threadsafe(_deliver, items)
    except RuntimeError:  # the loop is closed: none of its callers will ever leave by itself
        for request, _ in items:
            request.left = True


def _deliver(items: Sequence[tuple[EngineRequest[Any, Any], Any]]) -> None:
    for request, item in items:
        request.inbox.put_nowait(item)
