"""A server that asks for keys: what is open, what is closed, and what a key may use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_fakes import FakeService, make_app, make_client
from session_client import PATH, talking
from speaker_fake import SMALL, Speaker

from deployments.core.errors import InvalidRequest
from serve_app.config import AuthSettings
from serve_app.keys import key_ring
from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile

SPEECH = "/v1/audio/speech"
GOOD = {"input": "Hello.", "model": "toy", "voice": "anna", "response_format": "pcm"}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    monkeypatch.setattr(key_ring, "LOOK_EVERY_S", 0.0)
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def auth(file: KeyFile) -> AuthSettings:
    return AuthSettings(keys_file=str(file.path))


@pytest.fixture
def key(file: KeyFile) -> str:
    return add(file)


@pytest.fixture
async def closed(service: FakeService, auth: AuthSettings) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(service, auth) as client:
        yield client


def add(file: KeyFile, **limits: Any) -> str:
    text, kept = new_key("Ada", **limits)
    file.add(kept)
    return text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def error_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error


@pytest.mark.parametrize(
    "path",
    ["/", "/web/page.js", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/livez", "//readyz/", "/health"],
)
async def test_pages_and_probes_are_open(closed: httpx.AsyncClient, path: str) -> None:
    assert (await closed.get(path)).status_code == 200
    assert (await closed.head(path)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", SPEECH),
        ("POST", f"{SPEECH}/batch"),
        ("POST", "/v1/audio/route"),
        ("GET", "/v1/models"),
        ("GET", "/v1/audio/models"),
        ("GET", "/v1/audio/voices"),
        ("POST", "/v1/audio/voices"),
        ("DELETE", "/v1/audio/voices/x"),
        ("GET", "/version"),
        ("GET", "/nothing"),
        ("GET", "/web/../v1/models"),
        ("GET", "/webs/x"),
        ("GET", "/livez/x"),
        ("OPTIONS", SPEECH),
    ],
)
async def test_everything_else_asks_for_a_key(
    closed: httpx.AsyncClient, service: FakeService, method: str, path: str
) -> None:
    answer = await closed.request(method, path, json=GOOD)
    error = error_of(answer, 401, "missing_api_key")
    assert error["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert service.opened == service.voices_listed == 0


@pytest.mark.parametrize(
    "header", ["Authorization: Bearer {}", "authorization: bearer  {}", "xi-api-key: {}", "api-key: {}"]
)
async def test_where_clients_put_their_key(
    closed: httpx.AsyncClient, service: FakeService, key: str, header: str
) -> None:
    name, _, value = header.format(key).partition(": ")
    answer = await closed.post(SPEECH, json=GOOD, headers={name: value})
    assert answer.status_code == 200
    assert service.requests[0].key_id == key[3:11]
    assert key not in repr(service.requests)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dTpw"},
        {"api-key": ""},
        {"api-key": "sk-other"},
        {"Authorization": "Bearer " + "x" * 4000},
        {"xi-api-key": "vg_00000000_" + "a" * 43},
        {"api-key": b"vg_\xff\xfe"},
    ],
)
async def test_what_is_no_key(closed: httpx.AsyncClient, key: str, headers: dict[str, Any]) -> None:
    assert (await closed.get("/v1/models", headers=headers)).status_code == 401


async def test_a_place_holder_beside_the_key_does_no_harm(closed: httpx.AsyncClient, key: str) -> None:
    headers = {"Authorization": "Bearer not-needed", "api-key": key}
    assert (await closed.get("/v1/models", headers=headers)).status_code == 200


async def test_keys_come_and_go_without_a_restart(closed: httpx.AsyncClient, file: KeyFile) -> None:
    key = add(file)
    assert (await closed.get("/v1/models", headers=bearer(key))).status_code == 200
    file.revoke(key[3:11])
    error_of(await closed.get("/v1/models", headers=bearer(key)), 401, "invalid_api_key")


async def test_a_refused_upload_is_not_read(service: FakeService, auth: AuthSettings) -> None:
    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/audio/voices", "raw_path": b"",
        "root_path": "", "query_string": b"", "headers": [(b"content-length", b"5000")], "scheme": "http",
        "client": ("test", 1), "server": ("test", 80),
    }  # fmt: skip
    await make_app(service, auth=auth)(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_requests_a_minute(closed: httpx.AsyncClient, file: KeyFile) -> None:
    key = add(file, requests_per_minute=2)
    for _ in range(2):
        assert (await closed.post(SPEECH, json=GOOD, headers=bearer(key))).status_code == 200
    answer = await closed.get("/v1/models", headers=bearer(key))
    error = error_of(answer, 429, "rate_limit_exceeded")
    assert error["type"] == "rate_limit_error"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert (await closed.get("/livez", headers=bearer(key))).status_code == 200


async def test_characters_a_day(closed: httpx.AsyncClient, service: FakeService, file: KeyFile) -> None:
    key = add(file, characters_per_day=10)
    service.script = [InvalidRequest("this is refused")]
    assert (await closed.post(SPEECH, json=GOOD, headers=bearer(key))).status_code == 400
    service.script = FakeService().script  # what was refused before does not count
    assert (await closed.post(SPEECH, json=GOOD, headers=bearer(key))).status_code == 200
    answer = await closed.post(SPEECH, json=GOOD, headers=bearer(key))
    error_of(answer, 429, "quota_exceeded")
    assert int(answer.headers["retry-after"]) > 80_000
    long = {**GOOD, "input": "Hello there."}
    error_of(await closed.post(SPEECH, json=long, headers=bearer(key)), 403, "quota_too_small")


async def test_streams_at_the_same_time(speaker: Speaker, auth: AuthSettings, file: KeyFile) -> None:
    key, other = add(file, streams=1), add(file, streams=1)
    slow = {**GOOD, "input": "this is slow " * 5}
    async with make_client(speaker, auth) as client:
        first = asyncio.create_task(client.post(SPEECH, json=slow, headers=bearer(key)))
        while not speaker.running:
            await asyncio.sleep(0.005)
        # One client's id for all its requests does not make them one.
        again = await client.post(SPEECH, json=slow, headers={**bearer(key), "x-request-id": "same"})
        error_of(again, 429, "rate_limit_exceeded")
        assert again.headers["retry-after"] == "1"
        assert (await client.post(SPEECH, json=GOOD, headers=bearer(other))).status_code == 200
        assert (await first).status_code == 200
        assert (await client.post(SPEECH, json=slow, headers=bearer(key))).status_code == 200


async def test_a_batch_waits_for_its_own_streams(speaker: Speaker, auth: AuthSettings, file: KeyFile) -> None:
    key = add(file, streams=1)
    body = {
        **GOOD,
        "items": [{"input": "one slow"}, {"input": "two slow"}, {"input": "three"}],
        "deadline_s": 20,
    }
    del body["input"]
    async with make_client(speaker, auth) as client:
        answer = (await client.post(f"{SPEECH}/batch", json=body, headers=bearer(key))).json()
    assert answer["succeeded"] == 3
    assert speaker.most_running == 1
    assert {request.key_id for request in speaker.requests} == {key[3:11]}


async def test_a_key_for_speech_alone(closed: httpx.AsyncClient, file: KeyFile) -> None:
    headers = bearer(add(file, speech_only=True))
    assert (await closed.post(SPEECH, json=GOOD, headers=headers)).status_code == 200
    assert (await closed.get("/v1/audio/voices", headers=headers)).status_code == 200
    for method, path in (
        ("POST", "/v1/audio/voices"),
        ("PATCH", "/v1/audio/voices/x"),
        ("DELETE", "/v1//audio/voices/x/"),
    ):
        error_of(await closed.request(method, path, headers=headers), 403, "permission_denied")


@pytest.mark.parametrize("denial", [True, False])
async def test_a_session_without_a_key(speaker: Speaker, auth: AuthSettings, denial: bool) -> None:
    scope: dict[str, Any] = {
        "type": "websocket", "path": PATH, "raw_path": PATH.encode(), "root_path": "", "query_string": b"",
        "headers": [], "subprotocols": [], "scheme": "ws", "client": ("test", 1), "server": ("test", 80),
        "extensions": {"websocket.http.response": {}} if denial else {},
    }  # fmt: skip
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await make_app(speaker, SMALL, auth)(scope, receive, send)
    if denial:
        assert (sent[0]["type"], sent[0]["status"]) == ("websocket.http.response.start", 401)
        assert json.loads(sent[1]["body"])["error"]["code"] == "missing_api_key"
    else:
        assert [message["type"] for message in sent] == ["websocket.close"]


async def test_sessions_with_a_key(speaker: Speaker, auth: AuthSettings, file: KeyFile) -> None:
    app = make_app(speaker, SMALL, auth)
    for in_header in (True, False):
        key = add(file)
        headers = bearer(key) if in_header else {}
        protocols = () if in_header else ("voicegraph", f"openai-insecure-api-key.{key}")
        async with talking(app, headers=headers, protocols=protocols) as talk:
            assert talk.protocol == (protocols[0] if protocols else None)
            talk.configure()
            talk.say("One. ", "Two.")
            talk.send("input.done")
            await talk.utterance()
            file.revoke(key[3:11])
            talk.say("Three.")
            talk.send("input.done")
            assert (await talk.until("error"))[0]["error"]["type"] == "authentication_error"
            assert (await talk.until("audio.done"))[0]["failed"] is True
    assert all(request.key_id for request in speaker.requests)


async def test_the_pieces_of_an_utterance_are_one_stream(
    speaker: Speaker, auth: AuthSettings, file: KeyFile
) -> None:
    key = add(file, streams=1)
    async with talking(make_app(speaker, SMALL, auth), headers=bearer(key)) as talk:
        talk.configure()
        talk.say("One slow word. Two slow words. Three slow words. ")
        talk.send("input.done")
        _, _, done = await talk.utterance()
    assert not done["failed"]
    assert speaker.most_running == 2


async def test_the_document_says_how_to_send_a_key(
    closed: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    document = (await closed.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["bearer"] == {"type": "http", "scheme": "bearer"}
    assert {"bearer": []} in document["paths"][SPEECH]["post"]["security"]
    assert document["paths"]["/readyz"]["get"]["security"] == []
    assert "securitySchemes" not in (await client.get("/openapi.json")).json()["components"]


async def test_without_keys_nobody_is_asked(client: httpx.AsyncClient, service: FakeService) -> None:
    assert (await client.post(SPEECH, json=GOOD, headers=bearer("anything"))).status_code == 200
    assert service.requests[0].key_id is None
