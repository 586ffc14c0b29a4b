"""An IndexTTS directory with random weights: the official files, names and code path at any size, for timing.

    python -m benchmarks.random_checkpoint mid /tmp/indextts2-mid
    python -m benchmarks.random_checkpoint mid /tmp/indextts2.5-mid --model indextts2.5

Sizes: tiny (tests), mid (a CPU notices it), full (the official dimensions, 5 GB in float16). What comes out is
noise. It never says the stop code: every segment takes the codes it may (`max_codes`), so that runs compare.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import yaml
from safetensors.torch import save_file
from torch import Tensor
from transformers import Wav2Vec2BertConfig, Wav2Vec2BertModel

from deployments.indextts2.checkpoint import CODEC_25, VOCABULARY_25, IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import codec_shapes, gpt_shapes
from deployments.indextts2.s2mel.dims import S2MelDims
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.indextts2.traits import TWO, TWO_AND_A_HALF
from deployments.networks.bigvgan import BigVgan, BigVganDims
from deployments.networks.campplus import Campplus, CampplusDims

TESTS = Path(__file__).parents[1] / "tests"
OFFICIAL_CONFIG = TESTS / "specs/indextts2-config.yaml"
MODELS = {traits.source: traits for traits in (TWO, TWO_AND_A_HALF)}
GOLDEN_FRONT = TESTS / "golden/indextts2-front/ckpt"
GOLDEN_BACK = TESTS / "golden/indextts2-back"
GOLDEN_25 = TESTS / "golden/indextts2.5/checkpoint"
NEVER = -100.0  # bias of the stop code
MEL_LEVEL = -5.0  # where log-mels of speech lie
# Of the last layers: else mels explode, waves clip, and rounding errors grow with them.
CALM = 0.05
QUIET = 0.004
STYLE_WIDTH = 192

Shapes = Mapping[str, tuple[int, ...]]


def _narrow(dim: int, layers: int, heads: int, width: int, mel: int) -> dict[str, Any]:
    """Changes to the official config: GPT width, layers, heads; semantic width; width of the mel networks."""
    condition = {"output_size": dim // 2, "linear_units": dim, "attention_heads": 4, "num_blocks": 2}
    return {
        "gpt": {
            "model_dim": dim,
            "layers": layers,
            "heads": heads,
            "condition_module": condition,
            "emo_condition_module": condition,
        },
        "semantic_codec": {
            "hidden_size": width,
            "vocos_dim": width // 2,
            "vocos_intermediate_dim": width,
            "vocos_num_layers": 3,
        },
        "s2mel": {
            "length_regulator": {"channels": mel, "in_channels": width},
            "DiT": {"hidden_dim": mel, "num_heads": mel // 32, "content_dim": mel, "depth": 7},
            "wavenet": {"hidden_dim": mel},
        },
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "tiny": _narrow(64, 2, 4, 32, 64),
    "mid": _narrow(512, 8, 8, 256, 256),
    "full": {},
}
SEMANTIC_LAYERS = {"tiny": 2, "mid": 4, "full": 17}
VOCODER_CHANNELS = {"tiny": 64, "mid": 256, "full": 1536}
CAMPPLUS = {
    "tiny": CampplusDims(80, 8, 16, 4, 8, STYLE_WIDTH, (2, 2, 2)),
    "mid": CampplusDims(80, 32, 128, 32, 128, STYLE_WIDTH, (4, 4, 4)),
    "full": CampplusDims(80, 32, 128, 32, 128, STYLE_WIDTH, (12, 24, 16)),
}


class RandomWeights:
    """Values of a size that keeps activations near 1 through any number of layers."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._dtype = dtype

    def tensors(self, shapes: Shapes) -> dict[str, Tensor]:
        return {name: self._tensor(name, shape) for name, shape in shapes.items()}

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("freqs"):
            return torch.exp(torch.arange(shape[0]) * (-math.log(10_000) / shape[0]))
        normal = torch.randn(shape, generator=self._generator)
        if name.endswith(("weight_g", "running_var", "gamma")) or (
            name.endswith("weight") and len(shape) == 1
        ):
            value = torch.ones(shape)
        elif len(shape) < 2 or name.endswith(("bias", "running_mean")):
            value = 0.02 * normal
        else:
            input_major = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
            inputs = shape[0] if input_major else math.prod(shape[1:])
            value = normal * (0.5 if "emb" in name else inputs**-0.5)
        return value.to(self._dtype)


def write_checkpoint(
    directory: Path,
    size: str,
    *,
    model: str = TWO.source,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write the directory and return it; one that is complete is left as it is. `model`: of MODELS."""
    config = merged(yaml.safe_load((TESTS / f"specs/{model}-config.yaml").read_text()), CONFIGS[size])
    if CONFIGS[size] and MODELS[model].vocabulary == "sentencepiece":
        config["gpt"]["number_text_tokens"] = 560  # as many as the golden bpe.model has
    config["semantic_layer"] = SEMANTIC_LAYERS[size]
    finished = directory / "config.yaml"
    text = yaml.safe_dump(config, sort_keys=False)
    if finished.is_file() and finished.read_text() == text:
        return directory
    (directory / "hf_cache/bigvgan").mkdir(parents=True, exist_ok=True)
    weights = RandomWeights(seed, dtype)
    _write_front(directory, config, size, weights)
    _write_back(directory, config, size, weights)
    finished.write_text(text)  # last: a directory with a config is complete
    return directory


def merged(config: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = deepcopy(config)
    for name, value in changes.items():
        result[name] = merged(result[name], value) if isinstance(value, dict) else value
    return result


def _write_front(directory: Path, config: dict[str, Any], size: str, weights: RandomWeights) -> None:
    sizes = _sizes(config)
    gpt, codec, traits = sizes.gpt_dims, sizes.codec_dims, sizes.traits
    tensors = weights.tensors(gpt_shapes(gpt, sizes.conditioner_dims))
    tensors["mel_head.bias"][gpt.stop_mel_token] = NEVER
    torch.save(tensors, directory / "gpt.pth")
    codec_tensors = weights.tensors(codec_shapes(codec, steps_per_code=traits.steps_per_code))
    if traits.prompts_by_codes:
        save_file(codec_tensors, directory / "hf_cache/semantic_codec_model.safetensors")
    else:
        torch.save({"model": codec_tensors}, directory / CODEC_25)
    _write_semantic_encoder(directory / "hf_cache/w2v-bert-2.0", codec.hidden_size, size, weights)
    ones = torch.ones(codec.hidden_size)
    torch.save({"mean": 0 * ones, "var": ones}, directory / "wav2vec2bert_stats.pt")
    rows = sum(config["emo_num"])
    matrices = weights.tensors({"feat1": (rows, STYLE_WIDTH), "feat2": (rows, gpt.model_dim)})
    for name, matrix in matrices.items():
        torch.save(matrix, directory / f"{name}.pt")
    vocabulary = {
        "sentencepiece": GOLDEN_FRONT / "bpe.model",
        "tiktoken": GOLDEN_25 / VOCABULARY_25,
    }[traits.vocabulary]
    shutil.copy(vocabulary, directory / vocabulary.name)


def _sizes(config: Mapping[str, Any]) -> IndexTTSCheckpoint:
    """A directory that holds the config alone, to be asked for dims."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "config.yaml").write_text(yaml.safe_dump(dict(config)))
        checkpoint = IndexTTSCheckpoint(Path(scratch))
        _ = checkpoint.traits  # looks for files, and is kept
    return checkpoint


def _write_semantic_encoder(folder: Path, width: int, size: str, weights: RandomWeights) -> None:
    folder.mkdir(exist_ok=True)
    settings = json.loads((GOLDEN_FRONT / "hf_cache/w2v-bert-2.0/config.json").read_text())
    settings |= {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": max(4, width // 64),
        "num_hidden_layers": SEMANTIC_LAYERS[size],
        "output_hidden_size": width,
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=1))
    shutil.copy(GOLDEN_FRONT / "hf_cache/w2v-bert-2.0/preprocessor_config.json", folder)
    with torch.device("meta"):
        network = Wav2Vec2BertModel(Wav2Vec2BertConfig.from_pretrained(folder))
    save_file(weights.tensors(_shapes(network)), folder / "model.safetensors", metadata={"format": "pt"})


def _write_back(directory: Path, config: dict[str, Any], size: str, weights: RandomWeights) -> None:
    generator_config = json.loads((GOLDEN_BACK / "config.json").read_text())
    generator_config["upsample_initial_channel"] = VOCODER_CHANNELS[size]
    with torch.device("meta"):
        s2mel = S2MelNetworks(S2MelDims.from_config(config))
        campplus = Campplus(CAMPPLUS[size])
        bigvgan = BigVgan(BigVganDims.from_config(generator_config))
    tensors = weights.tensors(_shapes(s2mel))
    tensors["cfm.estimator.conv2.weight"] *= CALM
    tensors["cfm.estimator.conv2.bias"] += MEL_LEVEL
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = value
    torch.save({"net": parts}, directory / "s2mel.pth")
    torch.save(weights.tensors(_shapes(campplus)), directory / "hf_cache/campplus_cn_common.bin")
    filterless = {name: shape for name, shape in _shapes(bigvgan).items() if not name.endswith(".filter")}
    folder = directory / "hf_cache/bigvgan"
    generator = weights.tensors(filterless)
    generator["conv_post.weight_g"] *= QUIET
    torch.save({"generator": generator}, folder / "bigvgan_generator.pt")
    (folder / "config.json").write_text(json.dumps(generator_config, indent=1))


def _shapes(network: torch.nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def main(
    size: Annotated[str, typer.Argument(help=f"One of {', '.join(CONFIGS)}.")],
    directory: Annotated[Path, typer.Argument(help="Where to write it.")],
    *,
    model: Annotated[str, typer.Option(help=f"One of {', '.join(MODELS)}.")] = TWO.source,
    seed: Annotated[int, typer.Option(help="Other seeds, other weights.")] = 0,
    half: Annotated[bool, typer.Option(help="Store float16, half the size.")] = False,
) -> None:
    """Write an IndexTTS directory with random weights."""
    for name, known in ((size, CONFIGS), (model, MODELS)):
        if name not in known:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(known)}")
    write_checkpoint(directory, size, model=model, seed=seed, dtype=torch.float16 if half else torch.float32)


if __name__ == "__main__":
    typer.run(main)
