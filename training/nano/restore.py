"""A published model as the start of more training. `python -m training.nano.restore models/indextts2-nano`.

Encoder and codec are frozen again, as `semantic.pt`; GPT, s2mel and vocoders become checkpoints that their trainers go
on from. What a training keeps to itself (heads, judges, moments of the optimiser) begins anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from deployments.weights.tensors import read_tensors, subset
from training.nano.config import CONFIG, MEL_BANDS
from training.nano.gpt import GptNetworks
from training.nano.s2mel_start import new_networks
from training.nano.semantic import Semantic
from training.nano.train_loop import Work, save_weights
from training.nano.workspace import Workspace, write_atomically

Tensors = dict[str, Tensor]
GENERATOR = "hf_cache/bigvgan/bigvgan_generator.pt"


def semantic_of(folder: Path) -> Tensors:
    """State of `Semantic`; its heads, which are not published, are random."""
    network = Semantic()
    statistics = torch.load(folder / "wav2vec2bert_stats.pt", weights_only=True)
    found = {"mean": statistics["mean"], "variance": statistics["var"]}
    for name, value in load_file(folder / "hf_cache/w2v-bert-2.0/model.safetensors").items():
        found[f"encoder.{name}"] = value
    codec = load_file(folder / "hf_cache/semantic_codec_model.safetensors")
    own = network.state_dict()
    for name, value in codec.items():
        found[f"codec.{name}" if f"codec.{name}" in own else f"decoder.{name}"] = value
    result = network.load_state_dict({name: value.float() for name, value in found.items()}, strict=False)
    strange = [name for name in result.missing_keys if "_heads." not in name]
    if strange or result.unexpected_keys:
        raise ValueError(f"{folder} does not hold the encoder and codec of this code: {strange}")
    return network.state_dict()


def gpt_of(folder: Path) -> Tensors:
    stored = read_tensors(folder / "gpt.pth")
    own = GptNetworks().state_dict()
    return {name: stored[_published(name)].float() for name in own}


def _published(name: str) -> str:
    part, _, rest = name.partition(".")
    return rest if part in {"gpt", "conditioner"} else name


def s2mel_of(folder: Path) -> Tensors:
    """Weight norms are folded, as the trainer has them."""
    stored = subset(read_tensors(folder / "s2mel.pth"), "net")
    found = {}
    for name in new_networks(torch.zeros(MEL_BANDS)).state_dict():
        if name in stored:
            found[name] = stored[name].float()
            continue
        direction, length = stored[f"{name}_v"].float(), stored[f"{name}_g"].float()
        found[name] = direction * (length / direction.flatten(1).norm(dim=1).view_as(length))
    return found


def vocoder_of(folder: Path) -> Tensors:
    stored = load_file(folder / CONFIG["vocoder"]["name"] / "model.safetensors")
    return {name: value.float() for name, value in stored.items()}


def bigvgan_of(folder: Path) -> Tensors:
    return {
        name: value.float() for name, value in subset(read_tensors(folder / GENERATOR), "generator").items()
    }


READERS = {"gpt": gpt_of, "s2mel": s2mel_of, "vocoder": vocoder_of, "bigvgan": bigvgan_of}


def restore(folder: Path, workspace: Workspace) -> None:
    """Raises FileExistsError where a training of this root would be lost."""
    published: dict[str, Any] = json.loads((folder / "nano.json").read_text())
    taken = [name for name in READERS if (workspace.run(name) / "checkpoint.pt").exists()]
    if taken or workspace.semantic.exists():
        raise FileExistsError(f"{workspace.root} holds trainings already: {taken or workspace.semantic}")
    shutil.copy(folder / "bpe.model", workspace.bpe)
    state = semantic_of(folder)
    write_atomically(workspace.semantic, lambda temporary: torch.save(state, temporary))
    for name, read in READERS.items():
        if name == "bigvgan" and not (folder / GENERATOR).exists():
            continue
        made = published["trainings"][name]
        save_weights(workspace.run(name), read(folder), Work(60 * made["core_minutes"], made["steps"]))
    kept = {"trainings": published["trainings"], "shards": published["shards"]}
    workspace.published.write_text(json.dumps(kept) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("published", type=Path)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    arguments = parser.parse_args()
    workspace = Workspace(arguments.root)
    workspace.root.mkdir(parents=True, exist_ok=True)
    restore(arguments.published, workspace)
    print(f"{arguments.published} -> {workspace.root}")


if __name__ == "__main__":
    main()
