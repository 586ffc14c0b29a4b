"""Bad input gets OpenAI's error object and the right status, and nothing is logged as a crash."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from http_fakes import MAX_BODY_BYTES, FakeService, Wire, make_app
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("no_errors_logged")

SPEECH = "/v1/audio/speech"
GOOD = {"input": "Hello.", "model": "toy", "voice": "anna", "response_format": "pcm"}


def check_error(
    answer: httpx.Response, status: int, param: str | None = None, code: str | None = None
) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    if param is not None:
        assert error["param"] == param
    if code is not None:
        assert error["code"] == code
    return str(error["message"])


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"input": ""}, 400, "input", "input_empty"),
        ({"input": " \n\t "}, 400, "input", "input_empty"),
        ({"input": "x" * 5000}, 400, "input", "input_too_long"),
        ({"input": "😀🎉"}, 400, "input", "input_not_speakable"),
        ({"input": "?!… —"}, 400, "input", "input_not_speakable"),
        ({"input": "\ud800"}, 400, "input", None),
        ({"input": "a\udfffb"}, 400, "input", None),
        ({"input": "a\x00b"}, 400, "input", "invalid_character"),
        ({"model": "gpt-9"}, 404, "model", "model_not_found"),
        ({"voice": "nobody"}, 404, "voice", "voice_not_found"),
        ({"voice": {"id": "nobody"}}, 404, "voice", "voice_not_found"),
        ({"voice": ""}, 400, "voice", None),
        ({"voice": "\ud800"}, 404, "voice", "voice_not_found"),
        ({"voice": {"id": "\ud800"}}, 404, "voice", "voice_not_found"),
        ({"voice": {"name": "anna"}}, 400, "voice", None),
        ({"voice": ["anna"]}, 400, "voice", None),
        ({"voice": 7}, 400, "voice", None),
        ({"response_format": "ogg"}, 400, "response_format", None),
        ({"response_format": "\ud800"}, 400, "response_format", None),
        ({"stream_format": "ws"}, 400, "stream_format", None),
        ({"speed": 9}, 400, "speed", None),
        ({"speed": 0.2}, 400, "speed", None),
        ({"speed": "1,0"}, 400, "speed", None),
        ({"speed": "9"}, 400, "speed", None),
        ({"speed": "1e0"}, 400, "speed", None),
        ({"speed": True}, 400, "speed", None),
        ({"stream": "true"}, 400, "stream", None),
        ({"stream": 1}, 400, "stream", None),
        ({"sample_rate": 24000.5}, 400, "sample_rate", None),
        ({"sample_rate": "24000.5"}, 400, "sample_rate", None),
        ({"sample_rate": 7999}, 400, "sample_rate", None),
        ({"sample_rate": 96_000}, 400, "sample_rate", None),
        ({"sample_rate": 17_000, "response_format": "mp3"}, 400, "sample_rate", None),
        ({"sample_rate": 44_100, "response_format": "opus"}, 400, "sample_rate", None),
        ({"seed": -1}, 400, "seed", None),
        ({"seed": 1.5}, 400, "seed", None),
        ({"seed": 2**63}, 400, "seed", None),
        ({"seed": True}, 400, "seed", None),
        ({"language": "x" * 61}, 400, "language", None),
        ({"language": 5}, 400, "language", None),
        ({"pause_ms": -1}, 400, "pause_ms", None),
        ({"pause_ms": 1e9}, 400, "pause_ms", None),
        ({"latency_budget_ms": 0}, 400, "latency_budget_ms", None),
        ({"instructions": "x" * 4097}, 400, "instructions", None),
        ({"input": None}, 400, "input", None),
        ({"input": 5}, 400, "input", None),
        ({"input": ["Hello"]}, 400, "input", None),
        ({"input": {"text": "Hello"}}, 400, "input", None),
        ({"model": 3}, 400, "model", None),
        ({"fallback": "no"}, 400, "fallback", None),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    client: httpx.AsyncClient,
    service: FakeService,
    change: dict[str, Any],
    status: int,
    param: str,
    code: str | None,
) -> None:
    answer = await client.post(SPEECH, content=json.dumps({**GOOD, **change}))
    check_error(answer, status, param, code)
    assert service.opened == service.closed


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("name", ["speed", "pause_ms", "latency_budget_ms", "seed", "sample_rate"])
async def test_numbers_that_json_does_not_have(client: httpx.AsyncClient, name: str, number: str) -> None:
    answer = await client.post(SPEECH, content=f'{{"input": "Hello.", "{name}": {number}}}')
    check_error(answer, 400, name)


async def test_input_is_required(client: httpx.AsyncClient) -> None:
    check_error(await client.post(SPEECH, content="{}"), 400, "input")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"   ",
        b"{",
        b'{"input": "Hello"',
        b"input=Hello",
        b"\xff\xfe\x00",
        b'{"input": "\xff\xfe"}',
        b'{"input": "caf\xe9"}',
        b"[" * 20_000,
        b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        b'{"input": ' + b"1" * 5_000 + b"}",
        b"\x00" * 50,
    ],
)
async def test_broken_json(client: httpx.AsyncClient, content: bytes) -> None:
    message = check_error(await client.post(SPEECH, content=content), 400, code="invalid_json")
    assert "JSON" in message


@pytest.mark.parametrize("content", ["[]", '[{"input": "Hello."}]', '"Hello."', "5", "null", "true", "NaN"])
async def test_a_body_that_is_not_an_object(client: httpx.AsyncClient, content: str) -> None:
    assert "object" in check_error(await client.post(SPEECH, content=content), 400)


CURL = "application/x-www-form-urlencoded"  # what `curl -d` says where nobody tells it otherwise
BROWSER = {"sec-fetch-site": "same-origin"}


@pytest.mark.parametrize(
    ("kind", "headers"),
    [
        ("text/plain", {}),
        ("text/plain;charset=UTF-8", {}),
        ("multipart/form-data", {}),
        ("multipart/form-data; boundary=x", {}),
        ("application/jsonp", {}),
        (CURL, BROWSER),
        (CURL, {"origin": "http://test"}),
        (None, BROWSER),
        (None, {"origin": "http://test"}),
    ],
)
@pytest.mark.parametrize("path", [SPEECH, f"{SPEECH}/batch", "/v1//audio/route/"])
async def test_a_body_that_is_not_called_json(
    client: httpx.AsyncClient, service: FakeService, path: str, kind: str | None, headers: dict[str, str]
) -> None:
    """A page of another site can send these without asking the browser; JSON it cannot."""
    named = {**headers, **({} if kind is None else {"content-type": kind})}
    answer = await client.post(path, content=json.dumps(GOOD), headers=named)
    assert "application/json" in check_error(answer, 415, code="unsupported_media_type")
    assert not service.requests


async def test_what_curl_sends_by_itself_is_read(client: httpx.AsyncClient, service: FakeService) -> None:
    answer = await client.post(SPEECH, content=json.dumps(GOOD), headers={"content-type": CURL})
    assert answer.status_code == 200
    assert service.requests[0].text == GOOD["input"]


@pytest.mark.parametrize("kind", [None, "application/json; charset=utf-8", "application/problem+json"])
async def test_a_body_that_is_called_json_or_nothing(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert (await client.post(SPEECH, content=json.dumps(GOOD), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"steps": 9}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"steps": "4"}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": [4]}, "steps"),
        ({"steps": {"value": 4}}, "steps"),
        ({"style": "poem"}, "style"),
        ({"style": "x" * 10_000}, "style"),
        ({"extra_params": {"warmth": -1}}, "warmth"),
        ({"quality": "best"}, "quality"),
    ],
)
async def test_parameters_are_judged_by_the_model(
    client: httpx.AsyncClient, service: FakeService, change: dict[str, Any], param: str
) -> None:
    check_error(await client.post(SPEECH, json={**GOOD, **change}), 400, param)
    assert service.opened == service.closed == 1


async def test_deep_nesting_in_a_field(client: httpx.AsyncClient) -> None:
    content = '{"input": "Hello.", "response_format": "pcm", "deep": ' + "[" * 900 + "]" * 900 + "}"
    assert (await client.post(SPEECH, content=content)).status_code == 200
    check_error(await client.post(SPEECH, content=content.replace('"deep"', '"voice"')), 400, "voice")


async def test_a_body_that_says_it_is_too_large_is_refused_unread(service: FakeService) -> None:
    app = make_app(service)
    scope = Wire(app, {}, headers=((b"content-length", b"50000000"),)).scope
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "abc", ""])
async def test_a_content_length_that_is_no_number_is_not_believed(service: FakeService, length: str) -> None:
    wire = Wire(make_app(service), GOOD, headers=((b"content-length", length.encode("latin-1")),))
    await wire.run()
    assert wire.messages[0]["status"] == (413 if length.startswith("9") else 200)


async def test_a_chunked_upload_that_grows_too_large_is_not_read_to_its_end(
    client: httpx.AsyncClient,
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield b" " * 1000

    answer = await client.post(SPEECH, content=endless())
    check_error(answer, 413, code="body_too_large")
    assert read <= MAX_BODY_BYTES + 2000


async def test_a_large_body_within_the_limit_is_accepted(client: httpx.AsyncClient) -> None:
    body = json.dumps(GOOD)
    answer = await client.post(SPEECH, content=body + " " * (MAX_BODY_BYTES - len(body)))
    assert answer.status_code == 200


async def test_a_client_that_leaves_during_its_upload_is_no_crash(service: FakeService) -> None:
    app = make_app(service)
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(parts)

    async def send(message: Any) -> None: ...

    await app(Wire(app, {}).scope, receive, send)
    assert service.opened == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/", 404),
        ("GET", SPEECH, 405),
        ("PUT", "/livez", 405),
        ("GET", "/web/../config.py", 404),
        ("GET", "/web/nothing.js", 404),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/audio/voices?model=nothing", 404),
        ("GET", "/v1/audio/voices?legacy=perhaps", 400),
    ],
)
async def test_every_route_answers_errors_in_the_same_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    check_error(await client.request(method, path), status)


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), (SPEECH, 405)])
async def test_head_of_a_route_that_is_not_there(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.head(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", ["x" * 201, "é".encode("latin-1"), b"\x1b[2J"])
async def test_a_request_id_that_cannot_be_a_header_is_refused(client: httpx.AsyncClient, value: Any) -> None:
    check_error(await client.post(SPEECH, json=GOOD, headers={"x-request-id": value}), 400)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    (
        *("input", "model", "voice", "speaker", "response_format", "speed", "stream_format", "stream"),
        *("sample_rate", "instructions", "language", "seed", "pause_ms", "latency_budget_ms", "fallback"),
        *("extra_params", "lexicon", "text_cleaning"),
    )
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=ANYTHING | st.dictionaries(FIELDS, ANYTHING, max_size=4))
async def test_no_json_whatever_crashes_the_server(client: httpx.AsyncClient, body: Any) -> None:
    if isinstance(body, dict):
        body = {"input": "Hello.", "response_format": "pcm", **body}
    answer = await client.post(SPEECH, content=json.dumps(body))
    if answer.status_code != 200:
        assert answer.status_code in {400, 404, 413}
        assert answer.json()["error"]["message"]
