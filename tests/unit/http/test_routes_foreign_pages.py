"""A page of another site can make a browser send things; here they do nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from http_fakes import LIMITS, FakeService
from session_client import PATH, talking
from speaker_fake import Speaker

from serve_app.config import LOCAL_ORIGINS
from serve_app.http.application import create_api

SPEECH = "/v1/audio/speech"
GOOD = {"input": "Hello.", "model": "toy", "voice": "anna", "response_format": "pcm"}
EVIL = "https://evil.example"

CASES = [
    ({}, 200),
    ({"origin": "http://test"}, 200),
    ({"origin": "http://TEST"}, 200),
    ({"origin": "https://tts.example", "x-forwarded-host": "tts.example"}, 200),
    ({"origin": "https://tts.example", "sec-fetch-site": "same-origin"}, 200),
    ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, 200),
    ({"origin": EVIL}, 403),
    ({"origin": EVIL, "sec-fetch-site": "cross-site"}, 403),
    ({"origin": "http://test:81"}, 403),
    ({"origin": "http://test.evil.example"}, 403),
    ({"origin": "http://localhost.evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": ""}, 403),
]


def client_of(service: Any, origins: tuple[str, ...] = LOCAL_ORIGINS) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_api(service, LIMITS, origins))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.mark.parametrize(("headers", "status"), CASES)
async def test_who_may_make_it_speak(service: FakeService, headers: dict[str, str], status: int) -> None:
    async with client_of(service) as client:
        answer = await client.post(SPEECH, json=GOOD, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(service.requests) == (status == 200)
    if status == 403:
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("permission_error", "origin_not_allowed")
        assert "cors_origins" in error["message"]


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_nor_upload_change_or_delete_a_voice(service: FakeService, method: str) -> None:
    path = "/v1/audio/voices" + ("" if method == "POST" else "/x")
    async with client_of(service) as client:
        answer = await client.request(method, path, headers={"origin": EVIL})
    assert answer.status_code == 403


async def test_reading_is_left_to_cors(service: FakeService) -> None:
    async with client_of(service) as client:
        answer = await client.get("/v1/models", headers={"origin": EVIL})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_that_the_operator_names(service: FakeService) -> None:
    for origins in ((EVIL,), ("*",)):
        async with client_of(service, origins) as client:
            assert (await client.post(SPEECH, json=GOOD, headers={"origin": EVIL})).status_code == 200


async def test_no_page_at_all(service: FakeService) -> None:
    async with client_of(service, ()) as client:
        assert (
            await client.post(SPEECH, json=GOOD, headers={"origin": "http://localhost"})
        ).status_code == 403
        assert (await client.post(SPEECH, json=GOOD, headers={"origin": "http://test"})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://192.168.1.7:8000", 200),
        ("http://[::1]:8000", 200),
        ("http://workshop:8000", 200),
        ("http://workshop.local:8000", 200),
        ("https://tts.example", 200),
        ("http://tts.example", 403),
        ("http://tts.example:8000", 403),
        ("http://evil.local.example:8000", 403),
    ],
)
async def test_a_name_that_was_made_to_lead_here(service: FakeService, origin: str, status: int) -> None:
    """DNS rebinding: Origin and Host agree, for the page was loaded from the same name."""
    headers = {"origin": origin, "host": origin.partition("://")[2]}
    async with client_of(service) as client:
        assert (await client.post(SPEECH, json=GOOD, headers=headers)).status_code == status


async def test_a_session_of_a_foreign_page_is_not_opened(speaker: Speaker) -> None:
    app = create_api(speaker, LIMITS, LOCAL_ORIGINS)
    async with talking(app, headers={"host": "test", "origin": "http://test"}) as talk:
        talk.configure()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope: dict[str, Any] = {
        "type": "websocket", "path": PATH, "raw_path": PATH.encode(), "root_path": "", "query_string": b"",
        "headers": [(b"host", b"test"), (b"origin", EVIL.encode())], "subprotocols": [], "scheme": "ws",
        "client": ("test", 1), "server": ("test", 80), "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 403
    assert json.loads(sent[1]["body"])["error"]["code"] == "origin_not_allowed"


@pytest.mark.parametrize("path", ["/", "/web/page.js", "/docs", "/v1/models", "/nothing", SPEECH])
async def test_every_answer_says_what_a_browser_must_not_do(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == ("'self' 'unsafe-inline'" if path == "/docs" else "'self'")
    assert policy["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_hold_no_code_of_their_own(client: httpx.AsyncClient, path: str) -> None:
    page = (await client.get(path)).text
    for forbidden in (
        "<script>",
        "<style",
        " style=",
        " onclick",
        " onload",
        "javascript:",
        "http://",
        "https://",
    ):
        assert forbidden not in page
