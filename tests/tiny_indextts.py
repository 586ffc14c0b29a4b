"""An IndexTTS2 directory of a few megabytes with random weights, which runs the whole graph: reference in, wave out.

Joined from the two golden checkpoints. They differ in the width of the semantic features, so the tensors of s2mel.pth
that meet the front half are drawn anew; everything else is theirs, so every stage still works on weights for which
golden data exists. As a script: `python tests/tiny_indextts.py [TARGET]`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from deployments.weights.registry import model_directory

NAME = "indextts2-tiny"
STOCK_VOICE = "tiny"
SEED = 20_251
VOCODER_FILES = ("config.json", "bigvgan_generator.pt")


def make_tiny_checkpoint(target: Path, golden: Path) -> Path:
    """Write the directory `target` from `golden/indextts2-front` and `-back`; the same bytes each time."""
    front, back = golden / "indextts2-front" / "ckpt", golden / "indextts2-back"
    shutil.copytree(front, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    cache = target / "hf_cache"
    shutil.copyfile(back / "campplus_cn_common.bin", cache / "campplus_cn_common.bin")
    (cache / "bigvgan").mkdir(exist_ok=True)
    for name in VOCODER_FILES:
        shutil.copyfile(back / name, cache / "bigvgan" / name)
    (target / "voices").mkdir(exist_ok=True)
    for path in sorted((golden / "indextts2-front").glob("ref_spk*.wav"))[:1]:
        shutil.copyfile(path, target / "voices" / f"{STOCK_VOICE}.wav")
    config = _config(_yaml(front), _yaml(back))
    tensors = torch.load(back / "s2mel.pth", map_location="cpu", weights_only=True)
    torch.save(_fitted(tensors, config), target / "s2mel.pth")
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    return target


def _yaml(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((directory / "config.yaml").read_text("utf-8"))
    return content


def _config(front: dict[str, Any], back: Mapping[str, Any]) -> dict[str, Any]:
    config = {**front, "s2mel": back["s2mel"]}
    config["s2mel"]["length_regulator"]["in_channels"] = front["semantic_codec"]["hidden_size"]
    return config


def _fitted(tensors: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """s2mel.pth of the back half, with other widths where GPT latents and semantic features come in."""
    width, model_dim = config["semantic_codec"]["hidden_size"], config["gpt"]["model_dim"]
    generator = torch.Generator().manual_seed(SEED)

    def linear(network: dict[str, Tensor], name: str, inputs: int, outputs: int) -> None:
        network[f"{name}.weight"] = torch.randn(outputs, inputs, generator=generator) / inputs**0.5
        network[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1

    net = tensors["net"]
    regulator, gpt_layer = net["length_regulator"], net["gpt_layer"]
    prefix = "module." if all(name.startswith("module.") for name in gpt_layer) else ""
    linear(gpt_layer, f"{prefix}0", model_dim, len(gpt_layer[f"{prefix}0.bias"]))
    linear(gpt_layer, f"{prefix}2", gpt_layer[f"{prefix}2.weight"].shape[1], width)
    name = next(key for key in regulator if key.endswith("content_in_proj.weight")).removesuffix(".weight")
    linear(regulator, name, width, len(regulator[f"{name}.bias"]))
    return tensors


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else model_directory(NAME)
    print(make_tiny_checkpoint(place, Path(__file__).parent / "golden"))
