"""Work on several pieces of one request at once, results in order, everything cancelled when the request ends."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TypeVar

from deployments.core.calls import Response, cancel

Job = TypeVar("Job")
Result = TypeVar("Result")


async def in_order(
    jobs: Iterable[Job], submit: Callable[[Job], Response[Result]], ahead: int
) -> AsyncGenerator[tuple[Job, Result], None]:
    """Yield (job, result) in the order of `jobs`, with up to `ahead` further jobs submitted beyond the awaited one.

    However the generator ends, jobs that have been submitted and not yielded are cancelled.
    """
    source = iter(jobs)
    pending: deque[tuple[Job, Response[Result]]] = deque()
    try:
        while True:
            while len(pending) <= ahead and (job := next(source, None)) is not None:
                pending.append((job, submit(job)))
            if not pending:
                return
            job, response = pending[0]
            result = await response
            pending.popleft()
            yield job, result
    finally:
        for _, response in pending:
            cancel(response)
