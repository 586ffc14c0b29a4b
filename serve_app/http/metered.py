"""The graph as the holder of a key may use it: every text that is spoken counts against the key's limits."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import count

from deployments.core.catalogue import Catalogue
from deployments.core.errors import Unauthenticated
from deployments.core.speech import SpeechRequest, StreamEvent
from deployments.voices.library import Outcome
from deployments.voices.registered_voice import NewVoice, RegisteredVoice, VoiceChanges
from serve_app.http.service import SpeechService
from serve_app.keys.key_ring import KeyRing
from serve_app.keys.usage import KeyUsage
from serve_app.observe.now import ModelNow
from serve_app.routing.decision import Decision


class MeteredService:
    """A SpeechService around another. It speaks nothing that no valid key asks for, whichever route forgot to look."""

    def __init__(self, service: SpeechService, ring: KeyRing, usage: KeyUsage) -> None:
        self._service = service
        self._ring = ring
        self._usage = usage
        self._numbers = count()

    async def stream(self, request: SpeechRequest) -> AsyncGenerator[StreamEvent, None]:
        key = self._ring.with_id(request.key_id)
        if key is None:
            raise Unauthenticated("the API key of this session was revoked")
        # Not the request's id, which a client may choose.
        listener = request.part_of or str(next(self._numbers))
        with self._usage.stream(key, listener):
            self._usage.take_characters(key, len(request.text))
            begun = False
            stream = self._service.stream(request)
            try:
                async for event in stream:
                    begun = True
                    yield event
            finally:
                await stream.aclose()
                if not begun:
                    self._usage.give_back_characters(key, len(request.text))

    async def route(self, request: SpeechRequest) -> Decision:
        return await self._service.route(request)

    async def catalogue(self, *, voices: bool = True) -> Catalogue:
        return await self._service.catalogue(voices=voices)

    async def status(self) -> dict[str, bool]:
        return await self._service.status()

    async def now(self) -> tuple[ModelNow, ...]:
        return await self._service.now()

    async def register_voice(self, voice: NewVoice) -> RegisteredVoice:
        return await self._service.register_voice(voice)

    async def registered_voice(self, name: str) -> RegisteredVoice:
        return await self._service.registered_voice(name)

    async def update_voice(self, name: str, changes: VoiceChanges) -> RegisteredVoice:
        return await self._service.update_voice(name, changes)

    async def delete_voice(self, name: str) -> str:
        return await self._service.delete_voice(name)

    async def voice_sample(self, name: str) -> tuple[str, bytes]:
        return await self._service.voice_sample(name)

    async def preload_voice(self, name: str) -> dict[str, Outcome]:
        return await self._service.preload_voice(name)
