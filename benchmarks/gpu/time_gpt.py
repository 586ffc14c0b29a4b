"""What one code costs: the GPT's step for any number of rows, eager, compiled, as a CUDA graph, and with the choice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.gpt_rows import MODES, Mode, given_up, load
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Report
from benchmarks.gpu.timing import Timing, timed
from deployments.indextts2.gpt.attention import SlotCache
from deployments.indextts2.gpt.cuda_graphs import BucketedStep
from deployments.indextts2.gpt.decoding import new_decoder
from deployments.indextts2.gpt.forward import CodeInput
from deployments.indextts2.gpt.model import SpeechGpt
from deployments.indextts2.gpt.selection import Selection
from deployments.indextts2.sampling import Params

ROWS = (1, 2, 4, 8, 16, 32, 64)
KEYS = 512  # positions of a slot; steps are timed with half of them taken, and with nearly all
PREFIX = 80  # rows of a prefix


def time_gpt(report: Report, options: Options) -> None:
    checkpoint = options.checkpoint()
    for name, dtype in options.dtypes.items():
        model = report.make(f"gpt {name}, load", partial(load, checkpoint, options.device, dtype))
        if model is None:
            continue
        # float16 runs on the units of bfloat16: one way shows it.
        for mode in MODES if name != "float16" else MODES[1:2]:
            report.part(f"gpt {name}, {mode}", partial(_mode, model, mode, options), at_least_s=5)
        report.part(f"gpt {name}, prefill", partial(_prefill, model, options))
        del model
        if options.on_gpu:
            torch.cuda.empty_cache()


@torch.inference_mode()
def _mode(model: SpeechGpt, mode: Mode, options: Options) -> dict[str, Any]:
    rows = [each for each in ROWS if options.size == "full" or each <= 2]
    began_s = time.perf_counter()
    try:
        cache = model.new_cache(max(rows) + 1, KEYS)
        cache.keys.normal_()
        cache.values.normal_()
        with given_up() as lacking:
            if mode.compile:
                model.compile()
            step = BucketedStep(model, cache, graphs=mode.graphs)
        start_s = time.perf_counter() - began_s
        found = [
            {"rows": each, "positions": filled, "part": part, **asdict(timing)}
            for each in rows
            for filled in (KEYS // 2 - 1, KEYS - 2)
            for part, timing in _parts(model, cache, step, each, filled, mode, options)
        ]
    finally:
        model.gpt.compile_blocks(False)
    weights = sum(each.nbytes for each in model.parameters())
    return {
        "graphs": step.captured,
        "given_up": lacking,
        "start_s": start_s,
        "weights_bytes": weights,
        "timings": found,
    }


def _parts(
    model: SpeechGpt,
    cache: SlotCache,
    step: BucketedStep,
    rows: int,
    filled: int,
    mode: Mode,
    options: Options,
) -> Iterator[tuple[str, Timing]]:
    """The network alone, then with the choice of the next codes, as the engine makes it."""
    dims, slots = model.dims, list(range(rows))
    entries = [CodeInput(slot, 3, 5) for slot in slots]
    selection = Selection(dims, rows, model.device)
    selection.open(slots)
    decoders = [new_decoder(Params(num_beams=1), (slot,), dims, slot, 0) for slot in slots]

    def network() -> Tensor:
        for slot in slots:
            cache.lengths[slot] = filled
        return step(entries)

    def whole() -> None:
        for decoder in decoders:
            decoder.steps = 0  # the history of codes is as long as a sequence may be, which repeats are not
        selection.choose(model.logits(network()), decoders)

    name = f"{mode}, {rows} rows at {filled}"
    yield "network", timed(f"{name}, network", network, options)
    yield "step", timed(f"{name}, step", whole, options)


@torch.inference_mode()
def _prefill(model: SpeechGpt, options: Options) -> list[dict[str, Any]]:
    found = []
    for rows in (1, 4, 8) if options.size == "full" else (1,):
        cache = model.new_cache(rows, KEYS)
        inputs = torch.randn(PREFIX, model.dims.model_dim).to(model.device, model.dtype)

        def prefill(cache: SlotCache = cache, inputs: Tensor = inputs) -> None:
            slots = range(cache.slots)
            cache.clear(slots)
            model.extend(cache, [(slot, inputs) for slot in slots])

        found.append({"rows": rows, "prefix": PREFIX, **asdict(timed(f"{rows} prefixes", prefill, options))})
    return found
