from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import web
from quality_toy_server import ToyServer


@pytest_asyncio.fixture
async def toy() -> AsyncIterator[ToyServer]:
    server = ToyServer()
    app = web.Application()
    app.router.add_post("/v1/audio/speech", server.speech)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()
