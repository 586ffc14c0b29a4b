"""An IndexTTS-2.5 directory of a few megabytes with random weights, which runs the whole graph: reference in, wave out.

The golden checkpoint has neither w2v-BERT nor CAM++ nor a vocoder; those are IndexTTS2's. Its semantic features are of
the official width, for which a w2v-BERT would be large: the tensors that meet them are drawn anew for the small one.
As a script: `python tests/tiny_indextts25.py [TARGET]`.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from tiny_indextts import STOCK_VOICE, VOCODER_FILES
from torch import Tensor

from deployments.indextts2.checkpoint import CODEC_25, VOCABULARY_25, IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import codec_shapes, gpt_shapes
from deployments.weights.registry import model_directory
from deployments.weights.verify import Shapes

NAME = "indextts2.5-tiny"
SEED = 20_252
KEPT = (VOCABULARY_25, "feat1.pt", "feat2.pt")  # as they are
REGULATED = "content_in_proj"  # where features enter the mel stage


def make_tiny_checkpoint(target: Path, golden: Path) -> Path:
    """Write the directory `target` from `golden/indextts2.5`, `-front` and `-back`; the same bytes each time."""
    own, front, back = (
        golden / "indextts2.5/checkpoint",
        golden / "indextts2-front",
        golden / "indextts2-back",
    )
    cache = target / "hf_cache"
    shutil.copytree(
        front / "ckpt/hf_cache/w2v-bert-2.0",
        cache / "w2v-bert-2.0",
        dirs_exist_ok=True,
        copy_function=shutil.copyfile,
    )
    shutil.copyfile(front / "ckpt/wav2vec2bert_stats.pt", target / "wav2vec2bert_stats.pt")
    shutil.copyfile(back / "campplus_cn_common.bin", cache / "campplus_cn_common.bin")
    (cache / "bigvgan").mkdir(exist_ok=True)
    for name in VOCODER_FILES:
        shutil.copyfile(back / name, cache / "bigvgan" / name)
    (target / "voices").mkdir(exist_ok=True)
    for path in sorted(front.glob("ref_spk*.wav"))[:1]:
        shutil.copyfile(path, target / "voices" / f"{STOCK_VOICE}.wav")
    for name in KEPT:
        shutil.copyfile(own / name, target / name)
    config = _config(_yaml(own), _yaml(front / "ckpt"))
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    _write_weights(target, own)
    return target


def _yaml(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((directory / "config.yaml").read_text("utf-8"))
    return content


def _config(own: dict[str, Any], front: Mapping[str, Any]) -> dict[str, Any]:
    width = front["semantic_codec"]["hidden_size"]
    own["semantic_codec"]["hidden_size"] = own["s2mel"]["length_regulator"]["in_channels"] = width
    return own


def _write_weights(target: Path, own: Path) -> None:
    checkpoint = IndexTTSCheckpoint(target)
    generator = torch.Generator().manual_seed(SEED)
    gpt = IndexTTSCheckpoint(own).tensors("gpt")
    shapes = gpt_shapes(checkpoint.gpt_dims, checkpoint.conditioner_dims)
    other = {name: shape for name, shape in shapes.items() if gpt[name].shape != shape}
    torch.save({**gpt, **_drawn(other, generator)}, target / "gpt.pth")
    codec = codec_shapes(checkpoint.codec_dims, steps_per_code=checkpoint.traits.steps_per_code)
    torch.save({"model": _drawn(codec, generator)}, target / CODEC_25)
    s2mel = torch.load(own / "s2mel.pth", weights_only=True)
    regulator: dict[str, Tensor] = s2mel["net"]["length_regulator"]
    name = next(key for key in regulator if key.endswith(f"{REGULATED}.weight"))
    shape = (regulator[name].shape[0], checkpoint.codec_dims.hidden_size)
    regulator.update(_drawn({name: shape}, generator))
    torch.save(s2mel, target / "s2mel.pth")


def _drawn(shapes: Shapes, generator: torch.Generator) -> dict[str, Tensor]:
    """Values of a size that keeps activations near 1."""

    def values(name: str, shape: tuple[int, ...]) -> Tensor:
        drawn = torch.randn(shape, generator=generator)
        if name.endswith(("gamma", "weight_g")) or (name.endswith("norm.weight") and len(shape) == 1):
            return 1 + 0.1 * drawn
        return drawn * (0.1 if len(shape) < 2 else math.prod(shape[1:]) ** -0.5)

    return {name: values(name, shape) for name, shape in shapes.items()}


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else model_directory(NAME)
    print(make_tiny_checkpoint(place, Path(__file__).parent / "golden"))
