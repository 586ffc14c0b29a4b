"""Ingress replicas tell each other what keys have used, so that a limit holds for all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from deployments.core.logs import logger
from deployments.core.ray_internals import own_context
from serve_app.keys.usage import KeyUsage, UsageReport

EXCHANGE_S = 1.0
ANSWER_S = 2.0
Ask = Callable[[float], Awaitable[Sequence[UsageReport]]]
"""What all replicas have to report, within so many seconds; their own report may be among them."""


@dataclass(eq=False, slots=True)
class UsageExchange:
    """Asks the others as long as keys with limits are in use here. Nobody waits for it: a request is judged by what was
    known a second ago, and where the others do not answer, by what this replica has seen itself."""

    usage: KeyUsage
    ask: Ask
    _task: asyncio.Task[None] | None = None
    _failed: bool = False

    def wake(self) -> None:
        """A key with limits is used."""
        if self._task is None or self._task.done():
            self._task = own_context(asyncio.create_task, self._run())

    async def _run(self) -> None:
        while self.usage.in_use:
            try:
                reports = await self.ask(ANSWER_S)
            except Exception as error:  # a replica that dies takes the whole answer with it
                if not self._failed:
                    logger.warning("limits of API keys count for this ingress alone for now: %s", error)
                self._failed = True
            else:
                self._failed = False
                self.usage.hear(reports)
            await asyncio.sleep(EXCHANGE_S)
