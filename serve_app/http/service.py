"""What the HTTP interface needs of the graph; tests give it a fake."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from deployments.core.catalogue import Catalogue
from deployments.core.errors import Overloaded
from deployments.core.speech import SpeechRequest, StreamEvent
from deployments.voices.library import Outcome
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from serve_app.observe.now import ModelNow
from serve_app.routing.decision import Decision

T = TypeVar("T")

DEFAULT_WAIT_S = 1.0
SPREAD = 0.5  # waits are up to this much longer, so that those refused together do not come back together


class SpeechService(Protocol):
    def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]: ...

    async def route(self, request: SpeechRequest) -> Decision: ...

    async def catalogue(self, *, voices: bool = True) -> Catalogue: ...

    async def status(self) -> dict[str, bool]: ...

    async def now(self) -> tuple[ModelNow, ...]: ...

    async def register_voice(self, voice: NewVoice) -> RegisteredVoice: ...

    async def registered_voice(self, name: str) -> RegisteredVoice: ...

    async def update_voice(self, name: str, changes: VoiceChanges) -> RegisteredVoice: ...

    async def delete_voice(self, name: str) -> str: ...

    async def voice_sample(self, name: str) -> tuple[str, bytes]: ...

    async def preload_voice(self, name: str) -> dict[str, Outcome]: ...


async def retry_when_full(attempt: Callable[[], Awaitable[T]], until_s: float) -> T:
    """The result of `attempt`, made again after every Overloaded, once the wait it asks for is over.

    For work that a refusal would cost more than the wait. Raises Overloaded where the next attempt would come after
    `until_s`, a time of `time.monotonic()`.
    """

    def wait_s(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_after_s if isinstance(error, Overloaded) else None
        return (asked_s or DEFAULT_WAIT_S) * (1 + SPREAD * random.random())

    def too_late(state: RetryCallState) -> bool:
        return time.monotonic() + state.upcoming_sleep > until_s

    async def once() -> T:
        return await attempt()  # what is no coroutine function itself, tenacity does not await

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Overloaded), wait=wait_s, stop=too_late, reraise=True
    )
    return await retrying(once)
