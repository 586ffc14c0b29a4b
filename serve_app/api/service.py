"""What the HTTP interface needs of the graph; tests give it a fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from deployments.core import SpeechRequest, StreamEvent
from serve_app.router import Catalogue


class SpeechService(Protocol):
    def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]: ...

    async def catalogue(self) -> Catalogue: ...

    async def status(self) -> dict[str, bool]: ...
