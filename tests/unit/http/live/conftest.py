"""A service that speaks words, and a session with it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from live_fake import Speaker, Talk, make_app, talking


@pytest.fixture
def speaker() -> Speaker:
    return Speaker()


@pytest.fixture
async def talk(speaker: Speaker) -> AsyncIterator[Talk]:
    async with talking(make_app(speaker)) as talk:
        yield talk
    assert speaker.running == 0
