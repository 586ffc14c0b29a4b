"""One WebSocket connection: messages in, utterances spoken one after the other (docs/websocket.md)."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections import deque
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from deployments.core.errors import InvalidRequest, NotFound, Overloaded, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.speech import SpeechRequest
from serve_app.audio.encoders import FORMATS, output_rate_hz
from serve_app.config import Limits
from serve_app.http.authentication import chosen_protocol
from serve_app.http.caller import caller_of
from serve_app.http.errors import POLICY_VIOLATION, UNFORESEEN, error_body
from serve_app.http.headers import ignored_names
from serve_app.http.remote_recording import remote_of
from serve_app.http.service import SpeechService
from serve_app.http.stream_cut import log_cut
from serve_app.http.websocket.messages import (
    InputCancel,
    InputDone,
    InputText,
    Message,
    SessionClose,
    SessionConfig,
    read_message,
)
from serve_app.http.websocket.utterance import Utterance
from serve_app.routing.names import no_such_voice, resolve, served_language

NORMAL, GOING_AWAY = 1000, 1001  # RFC 6455, 7.4.1


def websocket_routes(service: SpeechService, limits: Limits) -> APIRouter:
    """WS /v1/audio/speech/stream: text in as it is written, speech out as it is made."""
    routes = APIRouter()

    @routes.websocket("/v1/audio/speech/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept(subprotocol=chosen_protocol(socket.scope["subprotocols"]))
        await Session(socket, service, limits).run()

    return routes


class _Ended(Exception):
    """The session is over; `code` is what the client is told, None if it has left."""

    def __init__(self, code: int | None) -> None:
        self.code = code


class Session:
    def __init__(self, socket: WebSocket, service: SpeechService, limits: Limits) -> None:
        self._socket = socket
        self._caller = caller_of(socket)
        self._service = service
        self._limits = limits
        self._id = uuid.uuid4().hex
        self._config: SessionConfig | None = None
        self._request: SpeechRequest | None = None  # as configured, without a text
        self._begun = 0
        self._open: Utterance | None = None  # whose text still arrives; may be spoken already
        self._unspoken: deque[Utterance] = deque()  # in order, with the one being spoken
        self._changed = asyncio.Event()  # something to speak, or closing
        self._closing = False
        self._active_s = time.monotonic()  # when the last message went either way
        self._speaker: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client closes or leaves. When it returns, nothing is being made for this client."""
        self._speaker = asyncio.create_task(self._speak_all())
        receiver: asyncio.Task[Any] | None = None
        try:
            while True:
                receiver = receiver or asyncio.create_task(self._socket.receive())
                if await self._received(receiver):
                    frame, receiver = receiver.result(), None
                    await self._take(frame)
        except _Ended as end:
            if end.code is not None:
                await self._send({"type": "session.done"})
                await self._socket.close(end.code)
        except (WebSocketDisconnect, WebSocketDisconnected):
            pass  # nobody is left to tell, and nothing has failed
        finally:
            if receiver is not None:
                receiver.cancel()
            await self._stop_speaking()

    async def _received(self, receiver: asyncio.Task[Any]) -> bool:
        """Wait for a frame, for a while. Raises _Ended where none is awaited any more."""
        assert self._speaker is not None
        idle_timeout_s = self._limits.session_idle_timeout_s
        timeout_s = max(0.0, self._active_s + idle_timeout_s - time.monotonic())
        await asyncio.wait({receiver, self._speaker}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._speaker.done():
            self._speaker.result()
            raise _Ended(NORMAL)
        if receiver.done():
            self._active_s = time.monotonic()
        elif time.monotonic() >= self._active_s + idle_timeout_s:
            error = SpeechError(f"nothing was said either way for {idle_timeout_s:g} s", code="idle_timeout")
            await self._send({"type": "error", **error_body(error)})
            raise _Ended(GOING_AWAY)
        return receiver.done()

    async def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "websocket.disconnect":
            raise _Ended(None)
        try:
            await self._handle(read_message(frame, self._limits.max_body_bytes))
        except SpeechError as error:
            await self._send({"type": "error", **error_body(error)})
            if self._config is None:
                raise _Ended(POLICY_VIOLATION) from None

    async def _handle(self, message: Message) -> None:
        if self._closing and not isinstance(message, InputCancel):
            raise InvalidRequest("the session is closing; only input.cancel is taken now", param="type")
        match message:
            case SessionConfig():
                await self._configure(message)
            case InputText():
                self._utterance(message.text)
            case InputDone():
                self._finish()
            case InputCancel():
                await self._cancel()
            case SessionClose():
                self._close()

    async def _configure(self, config: SessionConfig) -> None:
        if self._open is not None:
            raise InvalidRequest(
                "session.config: comes between utterances; send input.done first", param="type"
            )
        output_rate_hz(FORMATS[config.response_format], config.sample_rate)
        request = self._caller.signed(await config.request_for("", self._id, remote_of(self._socket)))
        await self._check(request)
        self._config, self._request = config, request

    async def _check(self, request: SpeechRequest) -> None:
        """What would fail in every utterance is said at once."""
        voice = request.voice
        # A session that names no voice does not wait for the place where voices are kept.
        catalogue = await self._service.catalogue(voices=voice is not None)
        resolve(request.model, catalogue.models, catalogue.model_aliases)
        served_language(request.language, catalogue.models)
        if voice is None or any(
            known.spelled(voice) and self._caller.sees(known.owner) for known in catalogue.voices
        ):
            return
        try:
            registered = await self._service.registered_voice(voice)
        except (InvalidRequest, NotFound):
            raise no_such_voice(voice) from None
        if not self._caller.sees(registered.owner):
            raise no_such_voice(voice)

    def _utterance(self, text: str) -> None:
        """`text` belongs to the open utterance, or begins one."""
        if self._config is None or self._request is None:
            raise InvalidRequest("the first message of a session is session.config", param="type")
        if not text:
            return
        if self._open is not None:
            if not self._open.ended:  # else it has failed, and the client knows
                self._open.add(text)
            return
        if len(self._unspoken) >= self._limits.max_utterances:
            raise Overloaded(
                f"{len(self._unspoken)} utterances wait to be spoken; send more after the next audio.done",
                retry_after_s=1,
            )
        request = replace(self._request, request_id=f"{self._id}-{self._begun}")
        utterance = Utterance(self._begun, self._config, request, self._service, self._limits.max_input_chars)
        utterance.add(text)
        self._begun += 1
        self._open = utterance
        self._unspoken.append(utterance)
        self._changed.set()

    def _finish(self) -> None:
        if self._config is None:
            raise InvalidRequest("the first message of a session is session.config", param="type")
        if self._open is None:
            raise InvalidRequest("input.done: there is no text to speak", param="type", code="input_empty")
        self._open.finish()
        self._open = None

    async def _cancel(self) -> None:
        """Silence first, then the news of it."""
        await self._stop_speaking()
        stopped = [utterance for utterance in self._unspoken if not utterance.ended]
        self._unspoken.clear()
        self._open = None
        for utterance in stopped:
            await self._send(_done(utterance, cancelled=True))
        if not stopped:
            await self._send({**NOTHING_DONE, "cancelled": True})
        self._speaker = asyncio.create_task(self._speak_all())

    def _close(self) -> None:
        if self._open is not None:
            self._finish()
        self._closing = True
        self._changed.set()

    async def _stop_speaking(self) -> None:
        if self._speaker is not None:
            self._speaker.cancel()
            await asyncio.wait([self._speaker])

    async def _speak_all(self) -> None:
        """Utterances in order; ends when the session is closing and all are spoken, or the client has left."""
        try:
            while self._unspoken or not self._closing:
                if not self._unspoken:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                await self._speak(self._unspoken[0])
                self._unspoken.popleft()
        except (WebSocketDisconnect, WebSocketDisconnected):
            await asyncio.Event().wait()  # the reader learns of it too, and ends this

    async def _speak(self, utterance: Utterance) -> None:
        failure: SpeechError | None = None
        try:
            await self._send_audio(utterance)
        except (WebSocketDisconnect, WebSocketDisconnected):
            raise
        except SpeechError as error:
            failure = error
        except Exception:
            RequestLogger(utterance.request_id).exception("an utterance failed")
            failure = SpeechError(UNFORESEEN)
        if failure is not None:
            if utterance.start is not None and utterance.bytes_sent:
                log_cut(utterance.request_id, utterance.start.model, utterance.bytes_sent, failure)
            await self._send({"type": "error", **error_body(failure), "utterance": utterance.number})
        await self._send(_done(utterance, failed=failure is not None))
        utterance.ended = True

    async def _send_audio(self, utterance: Utterance) -> None:
        async with aclosing(utterance.encoded()) as parts:
            announced = False
            async for data in parts:
                self._active_s = time.monotonic()
                if not announced:
                    await self._send(_start(utterance))
                    announced = True
                if utterance.config.audio_encoding == "binary":
                    await self._socket.send_bytes(data)
                    continue
                audio = base64.b64encode(data).decode()
                await self._send({"type": "audio.chunk", "utterance": utterance.number, "audio": audio})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message))


NOTHING_DONE: dict[str, Any] = {
    "type": "audio.done",
    "utterance": None,
    "duration_s": 0.0,
    "total_bytes": 0,
    "failed": False,
    "warnings": [],
}


def _start(utterance: Utterance) -> dict[str, Any]:
    start = utterance.start
    assert start is not None  # there is no audio before it
    return {
        "type": "audio.start",
        "utterance": utterance.number,
        "model": start.model,
        "voice": start.voice,
        "sample_rate": utterance.sample_rate_hz,
        "format": utterance.fmt.name,
        "media_type": utterance.fmt.media_type,
        "route_reason": start.reason,
        "filler_ms": round(start.filler_ms),
        "ignored": ignored_names(utterance.config.ignored(start.ignored)),
        "warnings": list(start.warnings),
    }


def _done(utterance: Utterance, *, cancelled: bool = False, failed: bool = False) -> dict[str, Any]:
    return {
        "type": "audio.done",
        "utterance": utterance.number,
        "duration_s": round(utterance.duration_s, 3),
        "total_bytes": utterance.bytes_sent,
        "cancelled": cancelled,
        "failed": failed,
        "warnings": list(utterance.warnings),
    }
