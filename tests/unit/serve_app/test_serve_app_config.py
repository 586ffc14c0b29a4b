from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from serve_app.config import Config, Limits

MODELS = {"kokoro": {"kind": "kokoro"}}


def test_the_defaults_stand_alone() -> None:
    config = Config(models=MODELS)
    assert config.limits == Limits()  # type: ignore[call-arg]
    assert config.model_aliases["tts-1"] == "fast"
    assert "http://localhost:*" in config.cors_origins


@pytest.mark.parametrize(
    "origin", ["*", "https://a.example", "http://127.0.0.1:8080", "http://[::1]:*", "app://x"]
)
def test_origins(origin: str) -> None:
    assert Config(models=MODELS, cors_origins=(origin,)).cors_origins == (origin,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"models": {}}, "at least one model"),
        ({}, "models"),
        ({"models": MODELS, "modles": {}}, "modles"),
        ({"models": MODELS, "limits": {"max_activ": 3}}, "max_activ"),
        ({"models": MODELS, "limits": {"max_requests": 0}}, "max_requests"),
        ({"models": MODELS, "limits": {"retry_after_s": float("inf")}}, "retry_after_s"),
        ({"models": MODELS, "limits": {"retry_after_s": float("nan")}}, "retry_after_s"),
        ({"models": MODELS, "limits": {"first_audio_timeout_s": 0}}, "first_audio_timeout_s"),
        ({"models": MODELS, "default_model": "other"}, "default_model: 'other' is not one of"),
        ({"models": MODELS, "model_aliases": {"kokoro": "fast"}}, "also the name of a model"),
        ({"models": MODELS, "model_aliases": {"x": "y"}}, "points to 'y'"),
        ({"models": MODELS, "cors_origins": ["localhost"]}, "'localhost' is not an origin such as"),
        ({"models": MODELS, "cors_origins": ["https://a.example/"]}, "without a path"),
        ({"models": MODELS, "cors_origins": ["https://*.example"]}, "is not an origin"),
        ({"models": {"fast": {"kind": "kokoro"}}}, "'fast' is the name of a policy"),
        ({"models": {"auto": {"kind": "kokoro"}}}, "'auto' is the name of a policy"),
    ],
)
def test_faults_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Config(**fields)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Config(models=MODELS).default_model = "kokoro"  # type: ignore[misc]
