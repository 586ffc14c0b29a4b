"""A VoxCPM directory with random weights: the official files, names and code path at any size, for timing.

    python -m benchmarks.random_voxcpm 1.5 mid /tmp/voxcpm-mid

Sizes: tiny (tests), mid (a CPU notices it), full (the official dimensions: 2 GB of version 1.5, 5 GB of version 2).
What comes out is noise. It never wishes to stop: every job makes the patches it may, so that runs compare.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.random_checkpoint import TESTS, RandomWeights, merged
from deployments.voxcpm.checkpoint_check import model_shapes, vae_shapes
from deployments.voxcpm.dims import VoxCPMDims, dims_from
from deployments.voxcpm.vae.encoder import UNUSED
from deployments.weights.tensors import dtype_named

OFFICIAL = TESTS / "specs/voxcpm-keys.json"
GOLDEN = TESTS / "golden/voxcpm"
# By version: the name in OFFICIAL, and the golden checkpoint whose tokenizer is taken.
VERSIONS = {"1.5": ("voxcpm-1.5", "v15"), "2": ("voxcpm2", "v2")}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def _narrow(width: int, layers: int, local_layers: int, vae: int, vocabulary: int) -> dict[str, Any]:
    """Changes to the official config: width of all towers, whose heads stay as wide as they are; layers of the base
    model, and of each other tower; channels of the VAE decoder. Rows are short, so that slots take little memory."""
    local = {
        "hidden_dim": width,
        "ffn_dim": 4 * width,
        "num_heads": max(2, width // 64),
        "num_layers": local_layers,
    }
    return {
        "lm_config": {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_attention_heads": max(2, width // 64),
            "num_hidden_layers": layers,
            "vocab_size": vocabulary,
        },
        "residual_lm_num_layers": local_layers,
        "scalar_quantization_latent_dim": width // 2,
        "encoder_config": local,
        "dit_config": local,
        "audio_vae_config": {"encoder_dim": max(4, vae // 16), "decoder_dim": vae},
        "max_length": 1024,
        "dtype": "float32",
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "tiny": _narrow(128, 2, 1, 64, 256),
    "mid": _narrow(256, 6, 4, 128, 1024),
    "full": {},
}


def write_checkpoint(directory: Path, version: str, size: str, *, seed: int = 0) -> Path:
    """Write the directory and return it; one that is complete is left as it is."""
    official, golden = VERSIONS[version]
    config = merged(json.loads(OFFICIAL.read_text("utf-8"))[official]["config"], CONFIGS[size])
    finished = directory / "config.json"
    text = json.dumps(config, indent=1)
    if finished.is_file() and finished.read_text("utf-8") == text:
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER:
        shutil.copyfile(GOLDEN / golden / "model" / name, directory / name)
    dims = dims_from(config)
    model = _model(dims, RandomWeights(seed, dtype_named(dims.dtype)))
    save_file(model, directory / "model.safetensors", metadata={"format": "pt"})
    torch.save({"state_dict": _vae(dims, RandomWeights(seed, torch.float32))}, directory / "audiovae.pth")
    finished.write_text(text, "utf-8")  # last: a directory with a config is complete
    return directory


def _model(dims: VoxCPMDims, weights: RandomWeights) -> dict[str, Tensor]:
    tensors = weights.tensors(model_shapes(dims))
    tensors["stop_head.weight"].zero_()  # two equal scores: go on
    return tensors


def _vae(dims: VoxCPMDims, weights: RandomWeights) -> dict[str, Tensor]:
    shapes = vae_shapes(dims)
    # A layer of training alone, which official files have as well.
    shapes = shapes | {
        name.replace("fc_mu.", UNUSED): shape for name, shape in shapes.items() if "fc_mu." in name
    }
    tensors = weights.tensors(shapes)
    for name, value in tensors.items():
        if name.endswith("alpha"):  # activations divide by it
            value.fill_(1.0)
        elif name.endswith("sr_bin_boundaries"):
            tensors[name] = torch.tensor(dims.vae.sr_bin_boundaries, dtype=torch.int32)
    return tensors


def main(
    version: Annotated[str, typer.Argument(help=f"One of {', '.join(VERSIONS)}.")],
    size: Annotated[str, typer.Argument(help=f"One of {', '.join(CONFIGS)}.")],
    directory: Annotated[Path, typer.Argument(help="Where to write it.")],
    *,
    seed: Annotated[int, typer.Option(help="Other seeds, other weights.")] = 0,
) -> None:
    """Write a VoxCPM directory with random weights."""
    for word, choices in ((version, VERSIONS), (size, CONFIGS)):
        if word not in choices:
            raise typer.BadParameter(f"{word!r} is not one of {', '.join(choices)}")
    write_checkpoint(directory, version, size, seed=seed)


if __name__ == "__main__":
    typer.run(main)
