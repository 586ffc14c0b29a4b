from __future__ import annotations

import httpx
from fastapi import APIRouter, FastAPI, HTTPException

from serve_app.observe.answers import OTHER, CountedAnswers


async def test_answers_are_counted_by_route_and_status() -> None:
    counted: list[tuple[str, int]] = []
    api, voices = FastAPI(), APIRouter()

    @voices.get("/voices/{voice}")
    async def voice(voice: str) -> str:
        if voice == "nobody":
            raise HTTPException(404)
        return voice

    @api.get("/broken")
    async def broken() -> None:
        raise RuntimeError("a bug")

    api.include_router(voices)
    api.add_middleware(CountedAnswers, api=api, answered=lambda route, code: counted.append((route, code)))
    transport = httpx.ASGITransport(api, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for path in ("/voices/anna", "/voices/nobody", "/broken", "/wp-admin.php", "/voices/bert?x=1"):
            await client.get(path)
        await client.delete("/voices/anna")
    assert counted == [
        ("/voices/{voice}", 200),
        ("/voices/{voice}", 404),
        ("/broken", 500),
        (OTHER, 404),
        ("/voices/{voice}", 200),
        ("/voices/{voice}", 405),
    ]
