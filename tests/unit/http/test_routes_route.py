"""POST /v1/audio/route over a fake service."""

from __future__ import annotations

import httpx
from http_fakes import FakeService

ROUTE = "/v1/audio/route"


async def test_every_model_is_shown_in_order_with_what_is_expected_of_it(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    answer = await client.post(ROUTE, json={"input": "Hello.", "fallback": None, "tags": ["agent"]})
    assert answer.status_code == 200
    content = answer.json()
    assert {name: content[name] for name in ("model", "reason", "rule", "problem")} == {
        "model": "toy",
        "reason": "default",
        "rule": None,
        "problem": None,
    }
    assert [(each["model"], each["reason"]) for each in content["candidates"]] == [
        ("toy", "default"),
        ("cloner", "fallback:toy"),
    ]
    assert content["candidates"][0] | {"quality_rank": 0} == {
        "model": "toy",
        "reason": "default",
        "objections": [],
        "wishes_unmet": [],
        "state": "up",
        "first_audio_ms": 250.0,
        "audio_s_per_s": 4.0,
        "quality_rank": 0,
    }
    assert content["candidates"][1]["first_audio_ms"] is None
    assert service.requests[0].tags == ("agent",)
    assert service.opened == 0


async def test_bad_input_is_refused_as_for_speech(client: httpx.AsyncClient) -> None:
    for body, param in (
        ({"input": "Hello.", "speed": 9}, "speed"),
        ({"input": "Hello.", "tags": ["x" * 65]}, "tags"),
        ({"input": "Hello.", "tags": "agent"}, "tags"),
        ({"input": "Hello.", "model": "nobody"}, "model"),
    ):
        answer = await client.post(ROUTE, json=body)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]["param"] == param
