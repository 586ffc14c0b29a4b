"""What the HTTP interface needs of the graph; tests give it a fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

from deployments.core.speech import SpeechRequest, StreamEvent
from deployments.voices.library import Outcome
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app.router import Catalogue


class SpeechService(Protocol):
    def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]: ...

    async def catalogue(self) -> Catalogue: ...

    async def status(self) -> dict[str, bool]: ...

    async def register_voice(self, audio: bytes, **fields: Any) -> RegisteredVoice: ...

    async def registered_voice(self, name: str) -> RegisteredVoice: ...

    async def update_voice(self, name: str, **changes: Any) -> RegisteredVoice: ...

    async def delete_voice(self, name: str) -> str: ...

    async def voice_sample(self, name: str) -> tuple[str, bytes]: ...

    async def preload_voice(self, name: str) -> dict[str, Outcome]: ...
