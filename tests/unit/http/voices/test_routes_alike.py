"""What holds for every route alike, found by going through the application's own list of routes."""

from __future__ import annotations

from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.routing import Route
from voices_fake import Clip, VoiceService

from serve_app.config import LOCAL_ORIGINS, Limits
from serve_app.http.application import create_api
from serve_app.observe.answers import all_routes

# What stands for the variable parts of paths, by the path that it makes complete.
NAMES = {
    "/v1/models/{name}": "fixed",
    "/v1/audio/voices/{voice_id}": "Berta",
    "/v1/audio/voices/{voice_id}/sample": "Berta",
    "/v1/audio/voices/{voice_id}/preload": "Berta",
    "/web/{name}": "page.js",
    "/docs/{name}": "swagger-ui.css",
}
# The least that each body of JSON must say.
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/v1/audio/speech"): {"input": "Hello."},
    ("post", "/v1/audio/route"): {"input": "Hello."},
    ("post", "/v1/audio/speech/batch"): {"items": [{"input": "Hello."}]},
    ("patch", "/v1/audio/voices/{voice_id}"): {"description": "warm"},
}


def complete(path: str) -> str:
    return path.format(name=NAMES.get(path), voice_id=NAMES.get(path))


@pytest.fixture
async def berta(http: AsyncClient, clip: Clip) -> None:
    await http.post("/v1/audio/voices", data={"name": "Berta"}, files={"audio_sample": ("a.wav", clip())})


@pytest.fixture
def gets(service: VoiceService) -> list[str]:
    found = [
        complete(route.path)
        for route in all_routes(create_api(service, Limits()).router)
        if isinstance(route, Route) and "GET" in (route.methods or ())
    ]
    assert {"/", "/readyz", "/v1/models/fixed", "/v1/audio/voices/Berta/sample", "/openapi.json"} <= set(
        found
    )
    return found


@pytest.mark.usefixtures("berta")
async def test_head_is_answered_wherever_get_is(http: AsyncClient, gets: list[str]) -> None:
    for path in gets:
        got, head = await http.get(path), await http.head(path)
        assert got.status_code == 200, path
        assert head.status_code == got.status_code, path
        assert head.headers == got.headers, path
        assert head.content == b"", path


@pytest.mark.usefixtures("berta")
async def test_slashes_that_are_too_many_change_nothing(http: AsyncClient, gets: list[str]) -> None:
    for path in gets:
        expected = (await http.get(path)).content
        for written in (f"/{path}", f"{path}/", path.replace("/", "//"), f"//{path}//"):
            answer = await http.get(f"http://test{written}")
            assert (answer.status_code, answer.content) == (200, expected), written


async def test_an_application_below_a_prefix_has_its_page_there(service: VoiceService) -> None:
    transport = ASGITransport(create_api(service, Limits()), root_path="/small")
    async with AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/small/", "/small//", "/small/livez", "/small//livez/"):
            assert (await client.get(path)).status_code == 200, path


async def test_head_of_what_is_only_posted_is_refused(http: AsyncClient) -> None:
    assert (await http.head("/v1/audio/speech")).status_code == 405
    assert (await http.post("/v1/models")).headers["allow"] == "GET, HEAD"


@pytest.mark.usefixtures("berta")
async def test_null_is_absent_in_every_field_of_every_json_body(
    http: AsyncClient, service: VoiceService
) -> None:
    document = (await http.get("/openapi.json")).json()
    seen = set()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is None:
                continue
            seen.add((method, path))
            schema = document["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[-1]]
            least = BODIES[method, path]
            body = dict.fromkeys((*schema["properties"], "unknown"), None) | least
            if method == "patch":
                del body["unknown"]  # which this one refuses by name
            before = await http.request(method, complete(path), json=least)
            after = await http.request(method, complete(path), json=body)
            assert (before.status_code, after.status_code) == (200, 200), after.text
            assert "x-ignored-fields" not in after.headers
    assert seen == set(BODIES)
    plain, with_nulls, *_ = service.requests
    for name in ("model", "voice", "speed", "language", "seed", "fallback", "stream", "params", "emotion"):
        assert getattr(plain, name) == getattr(with_nulls, name)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://localhost", "http://127.0.0.1:8080", "http://[::1]:5173"]
)
async def test_pages_of_this_machine_may_call_every_route(service: VoiceService, origin: str) -> None:
    app = create_api(service, Limits(), LOCAL_ORIGINS)
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization, content-type"}
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        for route in all_routes(app.router):
            for method in getattr(route, "methods", None) or ():
                headers = {**asked, "Access-Control-Request-Method": method}
                answer = await client.options(complete(route.path), headers=headers)  # type: ignore[attr-defined]
                assert answer.status_code == 200, answer.text
                assert answer.headers["access-control-allow-origin"] == origin
                assert method in answer.headers["access-control-allow-methods"]
        got = await client.get("/livez", headers={"Origin": origin})
        refused = await client.post(
            "/v1/audio/speech", json={"input": "Hi.", "speed": 9}, headers={"Origin": origin}
        )
    assert refused.status_code == 400
    for answer in (got, refused):
        assert answer.headers["access-control-allow-origin"] == origin
        assert {"X-Model", "X-Warnings", "X-Voice"} <= set(
            answer.headers["access-control-expose-headers"].split(", ")
        )


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (LOCAL_ORIGINS, "https://evil.example", None),
        (LOCAL_ORIGINS, "http://localhost.evil.example", None),
        (LOCAL_ORIGINS, "http://localhost:80.evil.example", None),
        (LOCAL_ORIGINS, "null", None),
        (("https://app.example",), "https://app.example", "https://app.example"),
        (("https://app.example",), "https://appxexample", None),
        (("https://app.example",), "https://app.example:8443", None),
        (("https://app.example:*",), "https://app.example:8443", "https://app.example:8443"),
        (("*",), "https://anyone.example", "*"),
        ((), "http://localhost", None),
    ],
)
async def test_other_pages_only_where_the_operator_says_so(
    service: VoiceService, origins: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    app = create_api(service, Limits(), origins)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://test") as client:
        answer = await client.get("/livez", headers={"Origin": origin})
    assert answer.headers.get("access-control-allow-origin") == allowed
