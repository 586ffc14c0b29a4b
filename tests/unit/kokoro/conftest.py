"""The voices that a pipeline knows of in these tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from kokoro_fakes import VOICES

from deployments.kokoro import pipeline as pipeline_module
from deployments.kokoro.voices import LANGUAGES, KokoroVoice


@pytest.fixture(autouse=True)
def _voices(monkeypatch: pytest.MonkeyPatch) -> None:
    genders = {"f": "female", "m": "male"}
    voices = {n: KokoroVoice(n, *LANGUAGES[n[0]], genders[n[1]], Path()) for n in VOICES}
    monkeypatch.setattr(pipeline_module, "expected_voices", lambda checkpoint: voices)
