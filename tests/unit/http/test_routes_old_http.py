"""Clients of HTTP/1.0, which cannot read chunks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from http_fakes import FakeService, Wire, make_app, speech
from speech_answers import FAST

from deployments.core.errors import Unavailable


class OldWire(Wire):
    @property
    def scope(self) -> dict[str, Any]:
        return {**super().scope, "http_version": "1.0"}


def header(wire: Wire, name: bytes) -> list[bytes]:
    return [value for key, value in wire.messages[0]["headers"] if key == name]


@pytest.mark.parametrize("fields", [{}, {"stream_format": "sse"}, {"stream": False}])
async def test_an_answer_comes_whole_with_its_length(fields: dict[str, Any]) -> None:
    new, old = (kind(make_app(FakeService()), {**FAST, **fields}) for kind in (Wire, OldWire))
    await asyncio.gather(new.run(), old.run())
    assert [message["type"] for message in old.messages] == ["http.response.start", "http.response.body"]
    assert header(old, b"content-length") == [str(len(old.data[0])).encode()]
    assert old.data[0] == b"".join(new.data)
    assert header(old, b"x-model") == [b"toy"]


async def test_a_stream_that_breaks_off_has_a_status() -> None:
    service = FakeService([*speech(1.0)[:3], Unavailable("the stage crashed")])
    wire = OldWire(make_app(service), FAST)
    await wire.run()
    assert wire.messages[0]["status"] == 503
    assert b"the stage crashed" in wire.data[0]
    assert (service.opened, service.closed) == (1, 1)
