"""Which tasks of the event loop a test has to answer for."""

from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import Any

from ray.serve import batching


def own_tasks() -> list[asyncio.Task[Any]]:
    """All but those of `serve.batch`: its queues live as long as the loop, which tests of many files share."""
    return [task for task in asyncio.all_tasks() if not _of_a_batch_queue(task)]


def _of_a_batch_queue(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return isinstance(coroutine, CoroutineType) and coroutine.cr_code.co_filename == batching.__file__
