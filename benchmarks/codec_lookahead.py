"""How far what a codec's decoder makes of a code is from final while only the next few codes are known.

    python -m benchmarks.codec_lookahead [CHECKPOINT]

Without a checkpoint: random weights of the official size, which reach farther than trained ones may. A stream decodes
codes as if they ended where they do so far; with L codes of look-ahead the last code that is committed has seen L more.
Printed is the distance of its features from those of one pass, over their own size, and the same for the mean of the
last 0.25 s that are committed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
import yaml
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.random_checkpoint import OFFICIAL_CONFIG, RandomWeights
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.checkpoint_check import codec_shapes
from deployments.indextts2.codec.decoder import STEPS_PER_CODE, CodeDecoder, load_code_decoder
from deployments.indextts2.dims import CodecDims, dims_from
from serve_app.bench.machine import git_commit

RESULT = Path(__file__).parent / "results/codec_lookahead.json"
LOOKAHEADS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40)
CODES = 160  # of an utterance
ENDS = range(60, 110, 5)  # where the last committed code lies
PARTS = {"last": 1, "recent": 6}  # committed codes that are compared; 6 are 0.25 s


def random_decoder(seed: int, gamma: float) -> CodeDecoder:
    """Of the official size. `gamma`: weight of what a block adds to its input."""
    config = yaml.safe_load(OFFICIAL_CONFIG.read_text())
    dims = dims_from(CodecDims, config["semantic_codec"], "semantic_codec")
    tensors = RandomWeights(seed, torch.float32).tensors(codec_shapes(dims, steps_per_code=STEPS_PER_CODE))
    scaled = {name: gamma * value if name.endswith("gamma") else value for name, value in tensors.items()}
    return load_code_decoder(scaled, dims, source="random weights")


def distances(decoder: CodeDecoder, utterances: int) -> dict[int, dict[str, float]]:
    """By look-ahead, of the parts that PARTS names."""
    known = decoder.embedding.codebook.num_embeddings
    found: dict[int, list[list[float]]] = {lookahead: [] for lookahead in LOOKAHEADS}
    for seed in range(utterances):
        codes = torch.from_numpy(np.random.default_rng(seed).integers(0, known, CODES))
        final = decoder.decode(codes[None])[0]
        for end in ENDS:
            for lookahead in LOOKAHEADS:
                early = decoder.decode(codes[None, : end + lookahead])[0]
                found[lookahead].append([_apart(early, final, end, codes=n) for n in PARTS.values()])
    means = {lookahead: np.mean(values, axis=0).tolist() for lookahead, values in found.items()}
    return {lookahead: dict(zip(PARTS, mean, strict=True)) for lookahead, mean in means.items()}


def _apart(early: Tensor, final: Tensor, end: int, codes: int) -> float:
    part = slice(STEPS_PER_CODE * (end - codes), STEPS_PER_CODE * end)
    return ((early[part] - final[part]).norm() / final[part].norm()).item()


def main(
    checkpoint: Annotated[Path | None, typer.Argument(help="A directory whose codec decodes.")] = None,
    *,
    utterances: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path, typer.Option(help="JSON to write.")] = RESULT,
) -> None:
    torch.set_num_threads(1)
    if checkpoint is not None:
        files = IndexTTSCheckpoint(checkpoint)
        path = str(files.path("semantic_codec"))
        decoders = {
            str(checkpoint): load_code_decoder(files.tensors("semantic_codec"), files.codec_dims, source=path)
        }
    else:
        decoders = {f"random, gamma {gamma:g}": random_decoder(1, gamma) for gamma in (1.0, 0.3, 0.1)}
    rows = {name: distances(decoder, utterances) for name, decoder in decoders.items()}
    table = Table("codes of look-ahead", *rows, title="last code (last 0.25 s): relative distance from final")
    for lookahead in LOOKAHEADS:
        table.add_row(
            str(lookahead),
            *(
                f"{found[lookahead]['last']:.2%} ({found[lookahead]['recent']:.2%})"
                for found in rows.values()
            ),
        )
    Console().print(table)
    output.write_text(json.dumps({"commit": git_commit(), "relative": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
