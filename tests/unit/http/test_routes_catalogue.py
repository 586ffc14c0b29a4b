"""The routes beside speech: catalogue, probes, the page and the interactive documentation."""

from __future__ import annotations

import re

import httpx
import pytest
from http_fakes import FakeService, ToyParams, body_schema

pytestmark = pytest.mark.usefixtures("no_errors_logged")


async def test_models_in_the_shape_of_openai(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/models")).json()
    assert answer["object"] == "list"
    entries = {entry["id"]: entry for entry in answer["data"]}
    assert entries.keys() == {"toy", "cloner", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"}
    for entry in entries.values():
        assert entry["object"] == "model"
        assert isinstance(entry["created"], int)
        assert isinstance(entry["owned_by"], str)
    assert entries["tts-1"]["alias_of"] == "fast"
    assert (await client.get("/v1/models/tts-1")).json() == entries["tts-1"]


async def test_models_with_what_they_can_do(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/audio/models")).json()
    assert answer["models"] == answer["data"]
    assert answer["default"] == "toy"
    by_id = {card["id"]: card for card in answer["models"]}
    assert by_id["toy"]["sample_rate"] == 16_000
    assert by_id["cloner"]["cloning"] is True
    assert by_id["toy"]["qualities"] == ["good", "fast"]
    assert by_id["toy"]["parameters"] == ToyParams().schema_here()
    assert by_id["toy"]["parameters"]["properties"]["steps"]["maximum"] == 8
    assert (by_id["cloner"]["qualities"], by_id["cloner"]["parameters"]) == ([], {})


async def test_voices(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/audio/voices")).json()
    assert answer["object"] == "list"
    assert answer["voices"] == answer["data"]
    assert [voice["id"] for voice in answer["voices"]] == ["anna", "ben"]
    assert answer["voices"][0]["aliases"] == ["alloy"]
    assert answer["uploaded_voices"] == []
    of_model = (await client.get("/v1/audio/voices", params={"model": "cloner"})).json()
    assert [voice["id"] for voice in of_model["voices"]] == ["ben"]
    legacy = (await client.get("/v1/audio/voices", params={"legacy": "true"})).json()
    assert legacy["voices"] == ["anna", "ben"]


async def test_probes(service: FakeService, client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez")).status_code == 200
    for path in ("/readyz", "/health"):
        service.ready = {"toy": True}
        assert (await client.get(path)).status_code == 200
        service.ready = {"toy": True, "cloner": False}
        answer = await client.get(path)
        assert answer.status_code == 503
        assert answer.json()["models"] == {"toy": {"ready": True}, "cloner": {"ready": False}}
    assert (await client.get("/version")).json()["name"] == "voicegraph"


async def test_the_page_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert names
    for name in names:
        assert not re.match(r"[a-z]+:|//", name)
        assert (await client.get(f"/{name.lstrip('/')}")).status_code == 200


async def test_the_documentation_needs_no_other_host(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(names) >= 3
    for name in names:
        assert not re.match(r"[a-z]+:|/", name), name  # relative, so that a route prefix does no harm
        assert (await client.get(f"/{name}")).status_code == 200
    assert "https://" not in page
    script = (await client.get("/web/docs.js")).text
    assert "https://" not in script
    assert 'url: "openapi.json"' in script
    assert "validatorUrl: null" in script
    assert (await client.get("/docs/__init__.py")).status_code == 404


async def test_the_openapi_document_describes_the_speech_request(client: httpx.AsyncClient) -> None:
    body = body_schema((await client.get("/openapi.json")).json(), "/v1/audio/speech")
    assert {"input", "voice", "response_format", "speed", "stream_format"} <= body["properties"].keys()
    assert body["required"] == ["input"]


@pytest.mark.slow
async def test_who_asks_for_models_does_not_wait_for_voices(
    service: FakeService, client: httpx.AsyncClient
) -> None:
    for path in ("/v1/models", "/v1/models/toy", "/v1/audio/models", "/livez", "/readyz", "/openapi.json"):
        assert (await client.get(path)).status_code == 200
    for fields in ({}, {"voice": "ben"}, {"model": "tts-1"}):
        assert (await client.post("/v1/audio/speech", json={"input": "Hello.", **fields})).status_code == 200
    assert service.voices_listed == 0
    await client.get("/v1/audio/voices")
    assert service.voices_listed == 1


async def test_every_route_documents_errors_and_none_that_is_never_sent(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert len(document["paths"]) >= 12
    for path in document["paths"].values():
        for operation in path.values():
            assert "default" in operation["responses"]
            assert "422" not in operation["responses"]
    error = document["components"]["schemas"]["ErrorFields"]
    assert error["properties"].keys() == {"message", "type", "param", "code"}
    assert "ValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize("model", ["auto", "fast", "tts-1", "gpt-4o-mini-tts"])
async def test_the_voices_of_a_policy_are_all(client: httpx.AsyncClient, model: str) -> None:
    everything = (await client.get("/v1/audio/voices")).json()
    assert (await client.get("/v1/audio/voices", params={"model": model})).json() == everything


@pytest.mark.parametrize("model", ["", "nobody"])
async def test_a_model_that_is_not_there_is_told_with_those_that_are(
    client: httpx.AsyncClient, model: str
) -> None:
    answer = await client.get("/v1/audio/voices", params={"model": model})
    assert answer.status_code == 404
    assert "available: " in answer.json()["error"]["message"]
