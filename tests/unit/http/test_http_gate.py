"""While an ingress drains: what is under way ends, what is new is told to come back."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from deployments.core.ray_internals import RUN_HEADER
from serve_app.http.gate import TRY_AGAIN_LATER, Gate


def application(gone: asyncio.Event) -> FastAPI:
    api = FastAPI()

    @api.get("/slow")
    async def slow() -> str:
        await gone.wait()
        return "done"

    @api.get("/livez")
    async def livez() -> str:
        return "ok"

    @api.websocket("/session")
    async def session(socket: WebSocket) -> None:
        await socket.accept()
        while (said := await socket.receive_json())["type"] != "session.close":
            await socket.send_json(said)
        await socket.send_json({"type": "session.done"})
        await socket.close()

    return api


def client(gate: Gate) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://test")


async def test_what_is_under_way_ends_and_what_is_new_is_refused() -> None:
    gone = asyncio.Event()
    gate = Gate(application(gone))
    async with client(gate) as asking:
        first = asyncio.create_task(asking.get("/slow"))
        while gate.open == 0:
            await asyncio.sleep(0.001)
        gate.drain()
        refused = await asking.get("/slow")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "server_stopping")
        assert refused.headers["retry-after"]
        assert refused.headers["connection"] == "close"
        assert (await asking.get("/livez")).status_code == 200
        assert gate.open == 1
        gone.set()
        assert (await first).json() == "done"
        assert gate.open == 0


def test_a_session_ends_in_good_order_when_it_drains() -> None:
    gate = Gate(application(asyncio.Event()))
    with TestClient(gate).websocket_connect("/session") as socket:
        socket.send_json({"type": "hello"})
        assert socket.receive_json() == {"type": "hello"}
        socket.portal.call(gate.drain)
        assert socket.receive_json() == {"type": "session.done"}
    with (
        pytest.raises(WebSocketDisconnect) as caught,
        TestClient(gate).websocket_connect("/session"),
    ):
        pass
    assert caught.value.code == TRY_AGAIN_LATER


@pytest.mark.parametrize(("asked", "status"), [(None, 200), ("mine", 200), ("another", 421)])
async def test_a_front_proxy_of_another_run_is_told_so(asked: str | None, status: int) -> None:
    headers: dict[str, Any] = {} if asked is None else {RUN_HEADER: asked}
    async with client(Gate(application(asyncio.Event()), run="mine")) as asking:
        assert (await asking.get("/livez", headers=headers)).status_code == status


async def test_an_api_is_replaced_under_requests() -> None:
    gone = asyncio.Event()
    gate = Gate(application(gone))
    other = FastAPI()
    other.get("/slow")(lambda: "other")
    async with client(gate) as asking:
        first = asyncio.create_task(asking.get("/slow"))
        while gate.open == 0:
            await asyncio.sleep(0.001)
        gate.api = other
        assert (await asking.get("/slow")).json() == "other"
        gone.set()
        assert (await first).json() == "done"
