"""What choosing the codes costs beside the network: CPU time of both in a step of the GPT, for mixes of requests.

    python -m benchmarks.gpt_sampling --steps 60

Two models: the checkpoint of `--directory`, and random weights of a middle size with the official vocabulary. Their
flat scores are the hardest to draw from. At 32 rows sampling should take less than a tenth of the network's time,
whatever one of the rows asks for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.gpt_engine import mid_size_model
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.gpt.decoding import NextCodes, new_decoder
from deployments.indextts2.gpt.engine import load_model
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.positions import generation_position
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params

NANO = Path(__file__).parents[1] / "models" / "indextts2-nano"
MOST = 0.1  # of the network's time, at 32 rows
NEVER = -100.0  # logit of the stop code
TEXT = [5] * 40

NARROW = Params(num_beams=1)
WIDE = Params(num_beams=1, top_k=0, top_p=1.0)
MIXES: dict[str, Sequence[Params]] = {
    "1 row": [NARROW],
    "8 rows": [NARROW] * 8,
    "32 rows": [NARROW] * 32,
    "31 rows, and one with top_k 0": [NARROW] * 31 + [WIDE],
    "31 rows, and one with top_k 1000": [NARROW] * 31 + [NARROW.changed({"top_k": 1000})],
    "31 rows, and one with the typical filter": [NARROW] * 31 + [NARROW.changed({"typical_mass": 0.9})],
    "32 rows with top_k 0": [WIDE] * 32,
    "32 rows with top_k 0, top_p 0.8": [WIDE.changed({"top_p": 0.8})] * 32,
    "4 x 3 beams": [Params()] * 4,
}


@torch.inference_mode()
def step_times_s(model: SpeechGpt, mix: Sequence[Params], steps: int) -> tuple[float, float]:
    """CPU seconds of the network and of the choice, medians over all steps."""
    dims, rows = model.dims, sum(params.num_beams for params in mix)
    slots = range(rows)
    selection = Selection(dims, rows)
    selection.open(slots)
    own = iter(slots)
    decoders = [
        new_decoder(params, tuple(next(own) for _ in range(params.num_beams)), dims, seed, stream=0)
        for seed, params in enumerate(mix)
    ]
    latents = torch.zeros(dims.condition_num_latent, dims.model_dim)
    inputs = torch.cat([model.prefix(latents, torch.zeros(dims.model_dim), TEXT), model.start()])
    cache = model.new_cache(rows, len(inputs) + steps)
    hidden = torch.stack([states[-1] for states in model.extend(cache, [(slot, inputs) for slot in slots])])
    network: list[float] = []
    choice: list[float] = []
    for step in range(1, steps + 1):
        began = time.process_time()
        logits = model.logits(hidden)
        logits[:, dims.stop_mel_token] = NEVER
        scored = time.process_time()
        chosen = selection.choose(logits, decoders)
        chose = time.process_time()
        codes: list[int] = []
        for decoder, next_codes in zip(decoders, chosen, strict=True):
            assert isinstance(next_codes, NextCodes)
            cache.reorder(decoder.slots, next_codes.parents)
            codes += next_codes.codes
        ordered = time.process_time()
        hidden = model.step(cache, slots, codes, [generation_position(step)] * rows)
        network.append(scored - began + time.process_time() - ordered)
        choice.append(chose - scored)
    return statistics.median(network), statistics.median(choice)


def main(
    *,
    directory: Annotated[Path, typer.Option(help="An IndexTTS2 directory.")] = NANO,
    layers: Annotated[int, typer.Option(help="Of the random weights.")] = 8,
    width: Annotated[int, typer.Option(help="Of the random weights; a multiple of 64.")] = 512,
    steps: Annotated[int, typer.Option(min=1)] = 60,
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
) -> None:
    """Measure and print a table."""
    console = Console(highlight=False)
    torch.set_num_threads(threads)
    models = {f"random, {layers} x {width}": mid_size_model(layers, width)}
    if directory.is_dir():
        own = load_model(IndexTTSCheckpoint(directory), device="cpu", dtype=torch.float32)
        models = {directory.name: own} | models
    for name, model in models.items():
        model.pack()
        table = Table("", "network, ms", "sampling, ms", "ratio", title=f"{name}: CPU time of a step")
        for mix, requests in MIXES.items():
            network_s, choice_s = step_times_s(model, requests, steps)
            ratio = choice_s / network_s
            style = "red" if len(requests) == 32 and ratio > MOST else None
            table.add_row(
                mix, f"{1000 * network_s:.2f}", f"{1000 * choice_s:.2f}", f"{ratio:.1%}", style=style
            )
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
