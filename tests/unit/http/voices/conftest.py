"""The HTTP interface over a registry with a real store and a model that clones, without any network."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from voices_fake import Clip, CloningModel, FixedModel, VoiceService

from serve_app.config import Limits
from serve_app.http.application import create_api


@pytest.fixture
def cloner() -> CloningModel:
    return CloningModel("clone")


@pytest.fixture
def service(tmp_path: Path, cloner: CloningModel) -> VoiceService:
    return VoiceService(tmp_path / "voices", FixedModel("fixed"), cloner)


@pytest.fixture
async def http(service: VoiceService) -> AsyncIterator[httpx.AsyncClient]:
    app = create_api(service, Limits())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture(scope="session")
def clip() -> Clip:
    """clip(duration_s, rate, channels, level, **soundfile options) -> a wav file with a wavering tone."""

    def make(
        duration_s: float = 4.0, rate: int = 24_000, channels: int = 1, level: float = 0.3, **options: Any
    ) -> bytes:
        t = np.arange(round(duration_s * rate)) / rate
        tone = level * np.sin(2 * np.pi * 220 * t) * (1 + 0.3 * np.sin(2 * np.pi * 3 * t))
        file = io.BytesIO()
        soundfile.write(file, np.stack([tone] * channels, axis=1), rate, **{"format": "WAV", **options})
        return file.getvalue()

    return make
