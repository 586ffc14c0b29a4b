"""Step 8: the trained weights in the file layout of IndexTTS2. `python -m training.nano.export`.

Layout and names: recipe.md 10, indextts2-front.md 2, indextts2-back.md 6. Storage is fp16; the networks
run in float32. Tensors that the official files hold and nobody reads are zeros.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from deployments.indextts2.s2mel.networks import S2MelNetworks
from training.nano.bigvgan import CONFIG as BIGVGAN_CONFIG
from training.nano.card import card
from training.nano.codes import load_frozen
from training.nano.config import CONFIG, MEL_BANDS, SEMANTIC_ENCODER, STYLE_WIDTH, VOCODER
from training.nano.data import ROWS_PER_SHARD
from training.nano.gpt import GptNetworks
from training.nano.references import stock_voices, write_references
from training.nano.s2mel_start import new_networks
from training.nano.scores import ROWS_PER_SHARD as SCORES_PER_SHARD
from training.nano.train_loop import average_of
from training.nano.workspace import Workspace

POSITION_ROWS = 5000
MAX_FRAMES = 16_384
# These learn on with the weights of another training, so a restored root counts their work from zero.
CONTINUES_ANOTHER = ("sharpen",)
EXTRACTOR = {
    "feature_extractor_type": "SeamlessM4TFeatureExtractor",
    "feature_size": 80,
    "num_mel_bins": 80,
    "padding_side": "right",
    "padding_value": 1,
    "return_attention_mask": True,
    "sampling_rate": 16_000,
    "stride": 2,
}


def half(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """fp16 copies; whole numbers and the time frequencies, whose angles reach 1000, stay as they are."""
    return {
        name: value.detach().clone()
        if not value.is_floating_point() or name.endswith("freqs")
        else value.detach().half().contiguous()
        for name, value in tensors.items()
    }


def export_semantic(workspace: Workspace, target: Path) -> None:
    """w2v-BERT folder, feature statistics, codec."""
    network = load_frozen(workspace)
    folder = target / "hf_cache/w2v-bert-2.0"
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"architectures": ["Wav2Vec2BertModel"], "model_type": "wav2vec2-bert", **SEMANTIC_ENCODER}
    (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(EXTRACTOR, indent=1) + "\n")
    save_file(half(network.encoder.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    torch.save({"mean": network.mean, "var": network.variance}, target / "wav2vec2bert_stats.pt")
    codec = {**network.codec.state_dict(), **network.decoder.state_dict()}
    save_file(half(codec), target / "hf_cache/semantic_codec_model.safetensors")


def unfolded(networks: S2MelNetworks) -> dict[str, Tensor]:
    """State of folded networks with `weight_g`, `weight_v` pairs where the checkpoint has them."""
    found = {}
    for name, value in networks.state_dict().items():
        paired = ".wavenet." in name or ".final_layer.linear." in name
        if paired and name.endswith(".weight"):
            norm = value.flatten(1).norm(dim=1)
            found[name + "_g"] = norm.view(-1, *[1] * (value.dim() - 1))
            found[name + "_v"] = value
        else:
            found[name] = value
    return found


def unread_of_s2mel() -> dict[str, Tensor]:
    """Tensors that the official file has and inference never reads (indextts2-back.md 6)."""
    section: dict[str, Any] = CONFIG["s2mel"]
    width = section["DiT"]["hidden_dim"]
    found = {
        "input_pos": torch.arange(MAX_FRAMES),
        "x_embedder.bias": torch.zeros(width),
        "x_embedder.weight_g": torch.zeros(width, 1),
        "x_embedder.weight_v": torch.zeros(width, MEL_BANDS),
        "cond_embedder.weight": torch.zeros(section["DiT"]["content_codebook_size"], width),
        "content_mask_embedder.weight": torch.zeros(1, width),
    }
    for layer in range(section["DiT"]["depth"] // 2 + 1):
        found[f"transformer.layers.{layer}.skip_in_linear.weight"] = torch.zeros(width, 2 * width)
        found[f"transformer.layers.{layer}.skip_in_linear.bias"] = torch.zeros(width)
    regulator = section["length_regulator"]
    return {
        **{f"cfm.estimator.{name}": value for name, value in found.items()},
        "length_regulator.embedding.weight": torch.zeros(
            regulator["content_codebook_size"], regulator["channels"]
        ),
        "length_regulator.mask_token": torch.zeros(1, regulator["channels"]),
    }


def export_s2mel(workspace: Workspace, target: Path) -> None:
    networks = new_networks(torch.zeros(MEL_BANDS))
    networks.load_state_dict(average_of(workspace.s2mel))
    nested: dict[str, dict[str, Tensor]] = {"cfm": {}, "length_regulator": {}, "gpt_layer": {}}
    for name, value in half({**unfolded(networks), **unread_of_s2mel()}).items():
        part, _, rest = name.partition(".")
        nested[part][rest] = value
    torch.save({"net": nested}, target / "s2mel.pth")


def export_vocoder(workspace: Workspace, target: Path) -> None:
    folder = target / CONFIG["vocoder"]["name"]
    folder.mkdir(exist_ok=True)
    save_file(half(average_of(workspace.run("vocoder"))), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(VOCODER) + "\n")


def export_bigvgan(workspace: Workspace, target: Path) -> None:
    folder = target / "hf_cache/bigvgan"
    folder.mkdir(exist_ok=True)
    torch.save({"generator": half(average_of(workspace.run("bigvgan")))}, folder / "bigvgan_generator.pt")
    (folder / "config.json").write_text(json.dumps(BIGVGAN_CONFIG, indent=1) + "\n")


def position_table(width: int) -> Tensor:
    """Sinusoids (1, 5000, width), stored by the official file (indextts2-front.md 5.2)."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    angles = torch.arange(POSITION_ROWS)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, POSITION_ROWS, width)


def export_gpt(workspace: Workspace, target: Path) -> None:
    """gpt.pth with position tables, bpe.model and an emotion matrix of zeros."""
    networks = GptNetworks()
    networks.load_state_dict(average_of(workspace.run("gpt")))
    tensors = {**networks.gpt.state_dict(), **networks.conditioner.state_dict()}
    tensors |= {f"text_head.{name}": value for name, value in networks.text_head.state_dict().items()}
    section = CONFIG["gpt"]
    for prefix, module in (("", "condition_module"), ("emo_", "emo_condition_module")):
        tensors[f"{prefix}conditioning_encoder.embed.pos_enc.pe"] = position_table(
            section[module]["output_size"]
        )
    torch.save(half(tensors), target / "gpt.pth")
    shutil.copy(workspace.bpe, target / "bpe.model")
    rows = sum(CONFIG["emo_num"])
    torch.save(
        torch.randn(rows, STYLE_WIDTH, generator=torch.Generator().manual_seed(0)), target / "feat1.pt"
    )
    torch.save(torch.zeros(rows, section["model_dim"]), target / "feat2.pt")


def export_style(workspace: Workspace, target: Path) -> None:
    """The real CAM++ weights in fp16; counters of training steps are left out, as the format allows."""
    tensors = torch.load(workspace.campplus, map_location="cpu", weights_only=True)
    kept = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    torch.save(half(kept), target / "hf_cache/campplus_cn_common.bin")


def export_config(target: Path) -> None:
    text = yaml.safe_dump(copy.deepcopy(CONFIG), sort_keys=False)
    (target / "config.yaml").write_text(text, encoding="utf-8")


def merged_ranges(before: list[list[int]], folder: Path) -> list[list[int]]:
    """Numbers of shards as [first, last], those of `before` and those in `folder`."""
    numbers = {number for first, last in before for number in range(first, last + 1)}
    numbers |= {int(path.stem) for path in folder.glob("*.npz")}
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def _count(ranges: list[list[int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def summary(workspace: Workspace, target: Path) -> dict[str, Any]:
    """nano.json: hashes of the files, numbers of the shards, work of every training, figures measured so far."""
    published = workspace.published
    before = json.loads(published.read_text()) if published.exists() else {"trainings": {}, "shards": {}}
    trainings = before["trainings"]
    shards = {
        name: merged_ranges(before["shards"].get(name, []), folder)
        for name, folder in (
            ("recordings", workspace.codes("train")),
            ("scores", workspace.written("scores")),
        )
    }
    for path in sorted((workspace.root / "runs").glob("*/checkpoint.pt")):
        state = torch.load(path, map_location="cpu", weights_only=True)
        name = path.parent.name
        earlier = trainings.get(name, {}) if name in CONTINUES_ANOTHER else {}
        trainings[name] = {
            "steps": state["step"] + earlier.get("steps", 0),
            "core_minutes": round(state["worked_s"] / 60 + earlier.get("core_minutes", 0.0), 1),
        }
    measured = workspace.root / "figures.jsonl"
    return {
        "trainings": trainings,
        "shards": shards,
        "utterances": _count(shards["recordings"]) * ROWS_PER_SHARD,
        "scores": _count(shards["scores"]) * SCORES_PER_SHARD,
        "figures": [json.loads(line) for line in measured.read_text().splitlines()]
        if measured.exists()
        else [],
        "sha256": {
            str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(target.rglob("*"))
            if path.is_file() and path.name not in ("nano.json", "README.md")
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    parser.add_argument("--target", type=Path, default=None, help="default: ROOT/export")
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    target: Path = arguments.target or workspace.export
    (target / "hf_cache").mkdir(parents=True, exist_ok=True)
    export_config(target)
    export_style(workspace, target)
    export_semantic(workspace, target)
    trained = {"s2mel": export_s2mel, "vocoder": export_vocoder, "bigvgan": export_bigvgan, "gpt": export_gpt}
    for name, export in trained.items():
        if (workspace.run(name) / "checkpoint.pt").exists():
            export(workspace, target)
        else:
            print(f"{name} is not trained yet and therefore not exported")
    write_references(stock_voices(workspace), target / "voices")
    recorded = summary(workspace, target)
    (target / "nano.json").write_text(json.dumps(recorded, indent=1) + "\n")
    (target / "README.md").write_text(card(recorded), encoding="utf-8")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
