"""Calls to stages that leave nothing running behind: Serve stops a callee only when it is told to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Response(Awaitable[T_co], Protocol[T_co]):
    """What a deployment handle returns."""

    def cancel(self) -> None: ...


class Stream(Protocol[T_co]):
    """What a handle with `stream=True` returns."""

    def __aiter__(self) -> AsyncIterator[T_co]: ...

    def cancel(self) -> None: ...


async def answer(response: Response[T]) -> T:
    """The result of a call; whoever stops waiting for it stops the callee as well."""
    try:
        return await response
    except BaseException:
        cancel(response)
        raise


async def items(stream: Stream[T]) -> AsyncGenerator[T, None]:
    """The items of a streaming call, which is cancelled however the generator ends."""
    try:
        async for item in stream:
            yield item
    finally:
        cancel(stream)


def cancel(call: Response[T] | Stream[T]) -> None:
    # A call that never reached a replica raises from `cancel` what it failed with; that has been reported already.
    with contextlib.suppress(Exception):
        call.cancel()
