"""`voicegraph eval` on the real graph: Kokoro speaks, everything is measured, two settings are compared."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from cluster import Cluster
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.quality.packages import MEASURES, NEEDED

pytestmark = pytest.mark.weights

REFERENCES = Path(__file__).parents[2] / "benchmarks" / "quality" / "voices" / "kokoro"
TEXTS = (
    "The ferry leaves the harbour at seven every morning.",
    "Nobody expected the old clock to strike again.",
)


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return path


def installed(measure: str) -> bool:
    return all(importlib.util.find_spec(package) for package in NEEDED[measure])


def evaluate(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["eval", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_two_settings_of_kokoro(kokoro: Cluster, sentences: Path, tmp_path: Path) -> None:
    measures = [measure for measure in MEASURES if installed(measure)]
    options = [
        "--model",
        "kokoro",
        "--voice",
        "bm_george",
        "--voices",
        str(REFERENCES),
        "--set",
        str(sentences),
    ]
    streamed, whole = (str(tmp_path / f"{name}.json") for name in ("streamed", "whole"))
    evaluate(kokoro.url, *options, "--measures", ",".join(measures), "--output", streamed)
    evaluate(kokoro.url, *options, "--measures", "none", "--no-stream", "--format", "flac", "--output", whole)
    result = json.loads(Path(streamed).read_text(encoding="utf-8"))
    figures = result["figures"]
    assert result["settings"]["answered_by"] == ["kokoro"]
    assert [item["voice"] for item in result["items"]] == ["bm_george"] * 2
    assert figures["failures"] == {"error": 0, "empty": 0, "long": 0}
    assert figures["first_audio_p50"] > 0
    if "wer" in measures:
        assert figures["wer"] <= 1 / 17, result["items"]
    if "similarity" in measures:
        assert figures["similarity"] > 0.8
    if "dnsmos" in measures:
        assert figures["dnsmos_ovrl"] > 2.5
    # FLAC of the same samples: as long as PCM, up to a last frame.
    pcm_s, flac_s = (json.loads(Path(path).read_text())["figures"]["audio_s"] for path in (streamed, whole))
    assert flac_s == pytest.approx(pcm_s, abs=0.05)
    assert "RTF" in evaluate("compare", streamed, whole)


def test_fields_that_kokoro_ignores_are_no_setting(kokoro: Cluster, sentences: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["eval", kokoro.url, "-m", "kokoro", "--set", str(sentences), "--extra", '{"diffusion_steps": 4}'],
    )
    assert done.exit_code == 1
    assert "kokoro ignores diffusion_steps" in done.stderr


def test_recordings_sent_along_are_the_voices(cluster: Cluster, tmp_path: Path) -> None:
    """What the four stages say with random weights is noise; that they are asked rightly can be seen."""
    (tmp_path / "set.jsonl").write_text('{"text": "Yes."}\n{"text": "No."}\n', encoding="utf-8")
    output = tmp_path / "result.json"
    setting = ["--measures", "none", "--extra", '{"diffusion_steps": 1, "guidance": 0}']
    voices = ["--voices", str(REFERENCES), "--clone", "--voice", "bf_emma", "--voice", "af_heart"]
    lines = ["--set", str(tmp_path / "set.jsonl"), "--output", str(output)]
    evaluate(cluster.url, "--model", "index", *setting, *voices, *lines)
    result = json.loads(output.read_text(encoding="utf-8"))
    assert [item["voice"] for item in result["items"]] == ["bf_emma", "af_heart"]
    assert result["settings"]["answered_by"] == ["index"]
    assert result["figures"]["failures"]["error"] == 0
