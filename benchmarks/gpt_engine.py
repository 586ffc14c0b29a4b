"""The GPT stage under load on a CPU: its engine at several concurrencies against a plain loop in the same process.

    python -m benchmarks.gpt_engine --codes 100 --rounds 5

Weights are random and of a middle size. Within a round every variant runs once, in turn, and ratios are taken within a
round, so that a machine whose speed changes changes all of them. The stop code is ruled out: every job makes as many
codes as it may. The plain loop is `generate`, which makes no latents; the engine makes them, so the loop with a latent
pass behind it is shown as well. CPU seconds are counted beside those of the clock: on a shared machine they tell how
much of a difference is work and how much is waiting for a core.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.known import Known
from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.engine import GptEngine
from deployments.indextts2.gpt.generation import generate, latents_of
from deployments.indextts2.gpt.job import GptJob
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import GptSettings
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice
from serve_app.bench.machine import describe_machine, git_commit

RESULT = Path(__file__).parent / "results" / "gpt_engine.json"
CONCURRENCIES = (1, 2, 4, 8)
LEAST_SCALING = 2.5  # concurrency 8 over concurrency 1
LEAST_OF_PLAIN = 0.95  # concurrency 1 over the plain loop
TEXT = tuple(range(2, 42))

Variant = Callable[[], Awaitable[int]]
"""Runs once and returns how many codes it made."""


def mid_size_model(layers: int, width: int) -> SpeechGpt:
    """Random weights; official vocabularies."""
    torch.manual_seed(0)
    dims = GptDims(
        model_dim=width,
        layers=layers,
        heads=width // 64,
        max_mel_tokens=1815,
        max_text_tokens=600,
        number_text_tokens=12_000,
        number_mel_codes=8194,
        start_mel_token=8192,
        stop_mel_token=8193,
        start_text_token=0,
        stop_text_token=1,
    )
    model = SpeechGpt(dims).requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
        else:
            torch.nn.init.zeros_(parameter)
    for name, parameter in model.named_parameters():
        if name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight")):
            torch.nn.init.ones_(parameter)
    model.mel_head.bias[dims.stop_mel_token] = -1e6
    return model


class GptBench:
    def __init__(self, model: SpeechGpt, codes: int) -> None:
        dims = model.dims
        self.model = model
        settings = GptSettings(slots=2 * max(CONCURRENCIES), max_waiting=0, max_length=256 + codes)
        self.engine = GptEngine(model, settings)
        self.params = Params(num_beams=1, max_codes=codes)
        generator = np.random.default_rng(1)
        latents = generator.standard_normal((dims.condition_num_latent, dims.model_dim)).astype(np.float32)
        self.voice = SharedVoice("bench", Known(VoiceProfile({"speaker_latents": latents})))
        self.latents = torch.from_numpy(latents)
        self.emotion = np.zeros(dims.model_dim, np.float32)

    def variants(self) -> dict[str, Variant]:
        plain: dict[str, Variant] = {
            "plain loop": lambda: self.plain(latents=False),
            "plain loop + latents": lambda: self.plain(latents=True),
        }
        whole = {f"engine x{n}": self.at(n, 0) for n in CONCURRENCIES}
        streamed = {f"engine x{n}, streaming": self.at(n, 10) for n in CONCURRENCIES}
        return plain | whole | streamed

    async def plain(self, *, latents: bool) -> int:
        prefix = self.model.prefix(self.latents, torch.from_numpy(self.emotion), TEXT)
        decoded = generate(self.model, prefix, self.params, seed=0)
        if latents:
            latents_of(self.model, prefix, decoded.codes)
        return len(decoded.codes)

    def at(self, concurrency: int, emit_codes: int) -> Variant:
        async def run() -> int:
            made = await asyncio.gather(*(self.job(seed, emit_codes) for seed in range(concurrency)))
            return sum(made)

        return run

    async def job(self, seed: int, emit_codes: int) -> int:
        job = GptJob("bench", self.voice, self.emotion, TEXT, self.params, seed, emit_codes=emit_codes)
        return sum([len(reply.value.codes) async for reply in self.engine.stream(job)])


Rates = dict[str, list[float]]
"""Codes per second of every variant, one figure per round."""


async def measure(bench: GptBench, rounds: int, console: Console) -> tuple[Rates, Rates]:
    """Per second of the clock and per CPU second; the first round only warms up."""
    variants = bench.variants()
    wall: Rates = {name: [] for name in variants}
    cpu: Rates = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, run in variants.items():
            began, busy = time.perf_counter(), time.process_time()
            codes = await run()
            if turn:
                wall[name].append(codes / (time.perf_counter() - began))
                cpu[name].append(codes / (time.process_time() - busy))
        console.print(f"round {turn} of {rounds}", style="dim")
    return wall, cpu


def median_ratio(rates: Rates, over: str, under: str) -> float:
    return statistics.median(a / b for a, b in zip(rates[over], rates[under], strict=True))


def main(
    *,
    layers: Annotated[int, typer.Option()] = 8,
    width: Annotated[int, typer.Option(help="A multiple of 64.")] = 512,
    codes: Annotated[int, typer.Option(help="Codes per job.")] = 100,
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
    output: Annotated[Path, typer.Option()] = RESULT,
) -> None:
    """Measure, print a table, write JSON; exit code 1 if a limit is missed."""
    console = Console(highlight=False)
    torch.set_num_threads(threads)
    bench = GptBench(mid_size_model(layers, width), codes)
    bench.engine.start()
    try:
        rates, cpu_rates = asyncio.run(measure(bench, rounds, console))
    finally:
        bench.engine.stop()
    table = Table(
        "", "codes/s (median)", "best", "of plain loop", title=f"GPT {layers} x {width}, {codes} codes"
    )
    for name, values in rates.items():
        ratio = median_ratio(rates, name, "plain loop")
        table.add_row(name, f"{statistics.median(values):.1f}", f"{max(values):.1f}", f"{ratio:.2f}")
    console.print(table)
    scaling = {
        "8 over 1": median_ratio(rates, "engine x8", "engine x1"),
        "8 over 1, streaming": median_ratio(rates, "engine x8, streaming", "engine x1, streaming"),
    }
    # The engine hands over latents with its codes, so the loop it is held against makes them too.
    of_plain = {"1 over plain loop + latents": median_ratio(rates, "engine x1", "plain loop + latents")}
    others = {
        "1 over plain loop without latents": median_ratio(rates, "engine x1", "plain loop"),
        "1 streaming over plain loop + latents": median_ratio(
            rates, "engine x1, streaming", "plain loop + latents"
        ),
    }
    for name, value in (scaling | of_plain).items():
        least = LEAST_SCALING if name in scaling else LEAST_OF_PLAIN
        console.print(f"{name}: {value:.2f} (at least {least})", style="green" if value >= least else "red")
    for name, value in others.items():
        console.print(f"{name}: {value:.2f}", style="dim")
    of_plain_cpu = {
        "1 over plain loop": median_ratio(cpu_rates, "engine x1", "plain loop"),
        "1 over plain loop + latents": median_ratio(cpu_rates, "engine x1", "plain loop + latents"),
        "1 streaming over plain loop": median_ratio(cpu_rates, "engine x1, streaming", "plain loop"),
    }
    for name, value in of_plain_cpu.items():
        console.print(f"{name}, in CPU time: {value:.2f}", style="dim")
    content = {
        "what": "codes per second of the GPT stage, random weights, sampling with one row per job",
        "layers": layers,
        "width": width,
        "codes": codes,
        "threads": threads,
        "machine": describe_machine(),
        "commit": git_commit(),
        "ratios": scaling | of_plain | others,
        "ratios_in_cpu_time": of_plain_cpu,
        "codes_per_s": rates,
        "codes_per_cpu_s": cpu_rates,
    }
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    if any(value < LEAST_SCALING for value in scaling.values()):
        raise typer.Exit(1)
    if any(value < LEAST_OF_PLAIN for value in of_plain.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
