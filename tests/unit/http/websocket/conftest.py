"""A session with a service that speaks words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from http_fakes import make_app
from session_client import Talk, talking
from speaker_fake import SMALL, Speaker


@pytest.fixture
async def talk(speaker: Speaker) -> AsyncIterator[Talk]:
    async with talking(make_app(speaker, SMALL)) as talk:
        yield talk
    assert speaker.running == 0
