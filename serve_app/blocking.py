"""The Python handle for plain scripts: the same calls as `Voicegraph`, without `async` and `await`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from typing_extensions import Unpack

from deployments.core.catalogue import VoiceCard
from deployments.core.speech import Samples, StreamEvent
from deployments.voices.registered_voice import RegisteredVoice

if TYPE_CHECKING:
    from serve_app.client import RequestFields, Speech, Voicegraph

T = TypeVar("T")


class VoiceFields(TypedDict, total=False):
    """What may be said of a recording: the options of `Voicegraph.add_voice`."""

    description: str
    language: str
    consent: str
    reference_text: str
    aliases: Sequence[str]


class BlockingVoicegraph:
    """Every call waits for its answer; several threads may use one. Errors are those of `Voicegraph`."""

    def __init__(self, graph: Voicegraph) -> None:
        self._graph = graph
        # Of its own: the script may run a loop itself, as a notebook does.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="voicegraph", daemon=True).start()

    def speak(self, text: str, **fields: Unpack[RequestFields]) -> Speech:
        """The whole text as one array."""
        return self._wait(self._graph.speak(text, **fields))

    def stream(self, text: str, **fields: Unpack[RequestFields]) -> Iterator[Samples]:
        """Samples (n,) as they are made, at the model's rate. Closing the iterator stops the work."""
        return self._each(self._graph.stream(text, **fields))

    def events(self, text: str, **fields: Unpack[RequestFields]) -> Iterator[StreamEvent]:
        """StreamStart (model, voice, sample rate), AudioChunks as they are made, StreamEnd."""
        return self._each(self._graph.events(text, **fields))

    def voices(self) -> tuple[VoiceCard, ...]:
        return self._wait(self._graph.voices())

    def add_voice(self, name: str, audio: bytes, **fields: Unpack[VoiceFields]) -> RegisteredVoice:
        """Register a recording as a voice of every model that clones."""
        return self._wait(self._graph.add_voice(name, audio, **fields))

    def remove_voice(self, voice_id: str) -> None:
        self._wait(self._graph.remove_voice(voice_id))

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        answer = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return answer.result()
        except BaseException:
            answer.cancel()  # Ctrl-C: nobody waits any more
            raise

    def _each(self, stream: AsyncGenerator[T, None]) -> Iterator[T]:
        try:
            while (item := self._wait(_next(stream))) is not None:
                yield item
        finally:
            self._wait(_close(stream))


async def _next(stream: AsyncGenerator[T, None]) -> T | None:
    """None at the end."""
    return await anext(stream, None)


async def _close(stream: AsyncGenerator[T, None]) -> None:
    await stream.aclose()
