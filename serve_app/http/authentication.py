"""API keys at the door: whoever has none learns nothing of what is behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.core.errors import Forbidden, SpeechError, Unauthenticated
from serve_app.http.caller import Caller, remember
from serve_app.http.errors import refuse
from serve_app.http.framing import route_path
from serve_app.keys.api_key import ApiKey
from serve_app.keys.key_ring import KeyRing
from serve_app.keys.usage import KeyUsage

OPEN = frozenset(("/", "/docs", "/openapi.json", "/livez", "/readyz", "/health"))  # pages and probes
OPEN_FOLDERS = ("/web/", "/docs/")
VOICES = "/v1/audio/voices"
READING = ("GET", "HEAD", "OPTIONS")
BEARER = "bearer "
KEY_HEADERS = ("xi-api-key", "api-key")  # of ElevenLabs' and Azure's clients
# A page cannot give a WebSocket headers, so OpenAI's clients put the key among the subprotocols that they offer.
KEY_PROTOCOL = "openai-insecure-api-key."


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """ASGI middleware. A request that passes carries its Caller."""

    app: ASGIApp
    ring: KeyRing
    usage: KeyUsage
    private_voices: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not _is_open(scope):
            try:
                key = self._key(scope)
                _check_permission(key, scope)
                self.usage.request(key)
            except SpeechError as error:
                await refuse(error, scope, receive, send)
                return
            remember(scope, Caller(key.id, self.private_voices))
        await self.app(scope, receive, send)

    def _key(self, scope: Scope) -> ApiKey:
        given = list(_given(scope))
        for text in given:
            if (key := self.ring.find(text)) is not None:
                return key
        if not given:
            raise Unauthenticated(
                "this server asks for an API key; send it as Authorization: Bearer, xi-api-key or api-key",
                code="missing_api_key",
            )
        raise Unauthenticated("the API key is not one of this server, or was revoked")


def chosen_protocol(offered: list[str]) -> str | None:
    """What a WebSocket is told to speak: browsers hang up on a server that takes none of several that they offered."""
    return next((name for name in offered if not name.startswith(KEY_PROTOCOL)), None)


def _is_open(scope: Scope) -> bool:
    path = route_path(scope)
    return scope["type"] == "http" and (path in OPEN or path.startswith(OPEN_FOLDERS))


def _given(scope: Scope) -> Iterator[str]:
    headers = Headers(scope=scope)
    for value in headers.getlist("authorization"):
        if value[: len(BEARER)].lower() == BEARER:
            yield value[len(BEARER) :].strip()
    for name in KEY_HEADERS:
        yield from headers.getlist(name)
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(KEY_PROTOCOL):
            yield protocol.removeprefix(KEY_PROTOCOL)


def _check_permission(key: ApiKey, scope: Scope) -> None:
    if not key.speech_only or scope["type"] != "http" or scope["method"] in READING:
        return
    path = route_path(scope)
    if path == VOICES or path.startswith(f"{VOICES}/"):
        raise Forbidden("this key may speak, but not add, change or delete voices")
