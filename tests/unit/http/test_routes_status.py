from __future__ import annotations

from http_fakes import FakeService, make_client


async def test_what_the_models_are_doing() -> None:
    async with make_client(FakeService()) as client:
        answer = (await client.get("/v1/audio/status")).json()
    assert answer == {
        "models": [
            {
                "id": "toy",
                "state": "up",
                "requests": 3,
                "first_audio_s": 0.25,
                "rtf": 0.5,
                "stages": {"gpt": {"replicas": 2, "rows": 16, "held_rows": 5, "waiting_rows": 1}},
            },
            {"id": "other", "state": "down", "requests": 0, "first_audio_s": None, "rtf": None, "stages": {}},
        ]
    }
