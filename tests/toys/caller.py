"""A deployment whose requests call another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.core.ray_internals import by_value, own_context
from deployments.core.stages import items


class Caller:
    """Calls a stage for a request, in the request's context or outside of it, and streams on until it is stopped."""

    def __init__(self, stage: DeploymentHandle[Any]) -> None:
        self._stage = by_value(stage, stream=True)

    async def begin(self, *, apart: bool) -> AsyncGenerator[int, None]:
        begin = own_context if apart else lambda call: call()
        self._task = begin(lambda: asyncio.create_task(self._speak()))
        yield 1
        await asyncio.Event().wait()

    async def _speak(self) -> None:
        async for _ in items(self._stage.tones.remote("slow " * 20, 0.05)):
            pass
