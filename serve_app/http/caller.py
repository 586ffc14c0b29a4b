"""Who sent a request, as far as its API key tells, and what follows for speech and voices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from starlette.requests import HTTPConnection
from starlette.types import Scope

from deployments.core.speech import SpeechRequest

IN_SCOPE = "voicegraph.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id`: None where the server asks for no keys."""

    key_id: str | None = None
    private_voices: bool = False

    def sees(self, owner: str) -> bool:
        """Whether voices of `owner`, the id of a key or empty, are there for this caller."""
        return not self.private_voices or owner in ("", self.key_id)

    def signed(self, request: SpeechRequest) -> SpeechRequest:
        """The request as this caller's."""
        if self.key_id is None:
            return request
        return replace(request, key_id=self.key_id, voices_of=self.key_id if self.private_voices else None)


ANYBODY = Caller()


def remember(scope: Scope, caller: Caller) -> None:
    scope[IN_SCOPE] = caller


def caller_of(connection: HTTPConnection) -> Caller:
    caller: Caller = connection.scope.get(IN_SCOPE, ANYBODY)
    return caller
