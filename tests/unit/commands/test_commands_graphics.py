"""What is said where the GPU that a config asks for is missing or too small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.memory import CONTEXT_BYTES, WORKSPACE_BYTES, stage_bytes
from deployments.indextts2.settings import IndexTTSSettings
from deployments.weights.registry import model_source
from serve_app.commands.graphics import (
    Device,
    Graphics,
    demanded_bytes,
    gpu_problem,
    memory_problem,
    wants_gpu,
)
from serve_app.config_file import load

CONFIGS = Path(__file__).parents[3] / "configs"
CARD = Device("a card", 20_000_000_000, 24_000_000_000)


@pytest.mark.parametrize(
    ("graphics", "driver", "said"),
    [
        (Graphics("2.13.0", "13.0", "", (CARD,)), True, None),
        (Graphics("2.13.0+cpu", None, "not compiled", ()), False, "no driver was found here"),
        (Graphics("2.13.0", "13.0", "Found no NVIDIA driver", ()), False, "docker run --gpus all"),
        (
            Graphics("2.13.0+cpu", None, "not compiled", ()),
            True,
            "pip install --force-reinstall torch==2.13.0",
        ),
        (
            Graphics("2.13.0", "13.0", "the driver is too old", ()),
            True,
            "cannot use the GPU: the driver is too old",
        ),
        (Graphics("2.13.0", "13.0", "", ()), True, "it finds no device"),
    ],
)
def test_why_there_is_no_gpu(graphics: Graphics, driver: bool, said: str | None) -> None:
    problem = gpu_problem(graphics, driver)
    assert (problem is None) if said is None else (problem is not None and said in problem)


def test_stages_that_do_not_fit_are_listed() -> None:
    assert memory_problem({"a": 12_000_000_000, "b": 7_000_000_000}, (CARD,)) is None
    problem = memory_problem({"a": 12_000_000_000, "b": 9_000_000_000}, (CARD,))
    assert problem is not None
    assert "about 21.0 GB of device memory (a 12.0 GB, b 9.0 GB)" in problem
    assert "a card: 20.0 GB of 24.0 GB" in problem


def test_a_stage_must_fit_on_one_device() -> None:
    assert memory_problem({"a": 12_000_000_000, "b": 9_000_000_000}, (CARD, CARD)) is None
    assert memory_problem({"a": 21_000_000_000}, (CARD, CARD)) is not None


def official(folder: Path) -> Path:
    """Files of the official sizes that hold nothing, and the official config."""
    sizes = {
        "gpt.pth": 3_484_402_556,
        "s2mel.pth": 1_200_000_000,
        "hf_cache/w2v-bert-2.0/model.safetensors": 2_322_000_000,
        "hf_cache/semantic_codec_model.safetensors": 177_000_000,
        "hf_cache/campplus_cn_common.bin": 28_000_000,
        "hf_cache/bigvgan/bigvgan_generator.pt": 449_000_000,
    }
    small = {file.target: 0 for file in model_source("indextts2").files if file.required}
    write_empty(folder, {**small, **sizes})
    text = (Path(__file__).parents[2] / "specs" / "indextts2-config.yaml").read_text("utf-8")
    (folder / "config.yaml").write_text(text)
    return folder


def official_voxcpm(root: Path, name: str) -> None:
    """The same of one version of VoxCPM: bfloat16 networks and a float32 AudioVAE."""
    listed = json.loads((Path(__file__).parents[2] / "specs" / "voxcpm-keys.json").read_text("utf-8"))
    version = listed[name.replace("m-2", "m2")]
    sizes = {
        "model.safetensors": 2 * version["model_parameters"],
        "audiovae.pth": 4 * version["audiovae_parameters"],
        "tokenizer.json": 0,
        "tokenizer_config.json": 0,
    }
    write_empty(root / name, sizes)
    (root / name / "config.json").write_text(json.dumps(version["config"]), "utf-8")


def write_empty(folder: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)


ON_THE_CARD = {
    *(f"indextts2-{stage}" for stage in ("speaker", "gpt", "s2mel", "vocoder")),
    *(f"voxcpm-{stage}" for stage in ("encoder", "engine")),
}


def test_the_official_weights_fit_a_card_of_24_gb_and_not_one_of_16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICEGRAPH_MODELS", str(tmp_path))
    files = IndexTTSCheckpoint(official(tmp_path / "indextts2"))
    plain = stage_bytes(IndexTTSSettings(gpt={"slots": 48, "max_length": 1300}), files)  # type: ignore[arg-type]
    # 123 kB per position of a slot in half of these bytes (docs/specs/indextts2-front.md 6).
    assert plain["gpt"] - CONTEXT_BYTES - WORKSPACE_BYTES == pytest.approx(
        48 * 1300 * 2 * 122_880 + 2.0e9, rel=0.02
    )
    official_voxcpm(tmp_path, "voxcpm-1.5")
    config = load(CONFIGS / "gpu-24g.yaml")
    assert wants_gpu(config)
    assert not wants_gpu(load(CONFIGS / "cpu.yaml"))
    demanded = demanded_bytes(config)
    assert set(demanded) == ON_THE_CARD
    assert 16e9 < sum(demanded.values()) < 23e9


def test_the_config_for_80_gb_fits_its_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEGRAPH_MODELS", str(tmp_path))
    official(tmp_path / "indextts2")
    official_voxcpm(tmp_path, "voxcpm-2")
    demanded = demanded_bytes(load(CONFIGS / "gpu-80g.yaml"))
    assert set(demanded) == ON_THE_CARD
    # 36 KiB of keys and values for each position (docs/specs/voxcpm.md 12), 2.3 billion parameters, the AudioVAE.
    engine = demanded["voxcpm-engine"] - CONTEXT_BYTES - WORKSPACE_BYTES
    assert engine == pytest.approx(64 * 1024 * 36 * 1024 + 4.58e9 + 0.38e9, rel=0.02)
    assert 30e9 < sum(demanded.values()) < 76e9
