from __future__ import annotations

import pytest

from deployments.core.pipeline import find_kind, parse_model
from deployments.kokoro import pipeline as kokoro


def test_a_kind_is_a_module_with_a_pipeline() -> None:
    assert find_kind("kokoro") is kokoro.Pipeline
    assert find_kind("deployments.kokoro.pipeline") is kokoro.Pipeline


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("base", "not the name of a module"),
        ("", "not the name of a module"),
        ("../x", "not the name of a module"),
        ("a b", "not the name of a module"),
        ("nothing", "there is no module deployments.nothing.pipeline"),
        ("nothing.at_all", "there is no module nothing.at_all"),
        ("serve_app.nothing", "there is no module serve_app.nothing"),
        ("engine", "there is no module deployments.engine.pipeline"),
        ("json.decoder", "has no class Pipeline"),
        ("a..b", "kind 'a..b'"),
        ("kokoro.", "kind 'kokoro.'"),
    ],
)
def test_what_is_no_kind(kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_kind(kind)


def test_settings_are_checked_by_the_kind() -> None:
    pipeline, settings = parse_model("k", {"kind": "kokoro", "threads": 3})
    assert pipeline is kokoro.Pipeline
    assert isinstance(settings, kokoro.KokoroSettings)
    assert settings.threads == 3
    with pytest.raises(ValueError, match=r"models\.k: threads: .*; colour: Extra inputs"):
        parse_model("k", {"kind": "kokoro", "threads": 0, "colour": "red"})
    with pytest.raises(ValueError, match=r"models\.k: `kind` is missing"):
        parse_model("k", {})
    with pytest.raises(ValueError, match=r"models\.k: default_voices: .*'en' is needed"):
        parse_model("k", {"kind": "kokoro", "default_voices": {"zh": "zf_xiaobei"}})
