"""One step of the GPT on a CPU, by width and rows, beside its linear layers alone: what is left to be saved.

    OMP_NUM_THREADS=1 python -m benchmarks.gpt_step

CPU milliseconds of a step as the engine runs it, network and choice of the codes, for rows that sample with 90
positions behind them. "linear layers" is a bare loop over the packed weights of all layers and of the head: no step can
take less with this kernel. Weights are random; both are measured in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.gpt_engine import mid_size_model
from benchmarks.stage_parts import GptRows
from deployments.indextts2.dims import GptDims
from deployments.networks.packed_linear import LEAST_ROWS, PackedLinear

SIZES = {256: 6, 512: 8, 1280: 2}  # width: layers; official checkpoints have 24 of the last
ROWS = (1, 2, 3, 8)
CODES = 90
ROUNDS = 9
STEPS = 10  # of one round


def linear_layers(dims: GptDims, rows: int) -> Callable[[], None]:
    """A loop over all products of one step, on packed weights of its own."""
    width = dims.model_dim
    shapes = [(width, 3), (width, 1), (width, 4), (4 * width, 1)] * dims.layers
    layers = [
        (
            torch.randn(rows, inputs),
            PackedLinear(torch.randn(outputs * width, inputs), torch.randn(outputs * width)),
        )
        for inputs, outputs in shapes
    ]
    head = PackedLinear(torch.randn(dims.number_mel_codes, width), torch.randn(dims.number_mel_codes))
    layers.append((torch.randn(rows, width), head))

    def run() -> None:
        for x, layer in layers:
            layer(x)

    return run


def cpu_ms(run: Callable[[], object]) -> float:
    began_s = time.process_time()
    for _ in range(STEPS):
        run()
    return (time.process_time() - began_s) / STEPS * 1e3


@torch.inference_mode()
def main() -> None:
    """Measure and print a table."""
    torch.set_num_threads(1)
    table = Table("GPT", "rows", "step, ms", "linear layers, ms", "rest, ms")
    for width, layers in SIZES.items():
        model = mid_size_model(layers, width)
        model.pack()
        prefix = model.prefix(
            torch.zeros(model.dims.condition_num_latent, width), torch.zeros(width), [5] * 10
        )
        for rows in ROWS:
            stepping = GptRows(model, prefix, rows, CODES)
            stepping.prefill()
            bare = linear_layers(model.dims, max(LEAST_ROWS, rows))
            taken = [(cpu_ms(stepping.step), cpu_ms(bare)) for _ in range(ROUNDS)]
            step, linear = (statistics.median(values) for values in zip(*taken, strict=True))
            table.add_row(
                f"{layers} x {width}", str(rows), f"{step:.2f}", f"{linear:.2f}", f"{step - linear:.2f}"
            )
    Console(highlight=False).print(table)


if __name__ == "__main__":
    typer.run(main)
