from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.core.pipeline import find_kind, parse_model
from deployments.kokoro import pipeline as kokoro


def test_a_kind_is_a_module_with_a_pipeline() -> None:
    assert find_kind("kokoro") is kokoro.Pipeline
    assert find_kind("deployments.kokoro.pipeline") is kokoro.Pipeline


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("base", "there is no module deployments.base.pipeline"),
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


def test_the_shape_itself_is_no_kind() -> None:
    for kind in ("core", "deployments.core.pipeline"):
        with pytest.raises(ValueError, match="has no class Pipeline"):
            find_kind(kind)


def test_families_are_found_without_importing_them() -> None:
    code = (
        "import sys; from deployments.core.pipeline import families; print(*families());"
        "print(*[m for m in sys.modules if m.endswith('.pipeline') or m in ('torch', 'ray.serve')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, imported = shown.stdout.splitlines()
    assert {"indextts2", "kokoro"} <= set(found.split())
    assert not {"core", "engine", "voices", "weights", "networks", "text", "streaming"} & set(found.split())
    assert imported.split() == ["deployments.core.pipeline"]


def test_an_unknown_kind_is_told_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"the kinds are .*indextts2, kokoro"):
        find_kind("nothing")
    with pytest.raises(ValueError, match=r"models\.m: `kind` is missing; it is one of .*kokoro"):
        parse_model("m", {"kind": 3})


@pytest.mark.parametrize("missing", ["a_package_that_is_not_installed", "my"])
def test_a_kind_whose_own_imports_fail_says_so(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_models").mkdir()
    (tmp_path / "my_models" / "mine.py").write_text(f"import {missing}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match=missing):
        find_kind("my_models.mine")


def test_a_kind_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_voices").mkdir()
    (tmp_path / "my_voices" / "mine.py").write_text("class Pipeline: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_kind("my_voices.mine").__module__ == "my_voices.mine"
