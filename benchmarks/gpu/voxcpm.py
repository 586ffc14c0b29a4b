"""First audio and real-time factor of VoxCPM's engine by concurrency, with CUDA graphs and without, without Ray.

    python -m benchmarks.gpu.voxcpm --size full --version 1.5

Texts are spoken without a recording, and with the number format that the model was trained in.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import random_voxcpm
from benchmarks.gpu.gpt_rows import given_up
from benchmarks.gpu.load import spoken, traced
from benchmarks.gpu.options import Options, parse, scratch_directory
from benchmarks.gpu.report import Report
from deployments.core.speech import Samples
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.step.decoding import WaveDecoder
from deployments.voxcpm.step.engine import VoxCPMEngine, load_parts
from deployments.voxcpm.step.job import VoxCPMJob
from deployments.weights.tensors import dtype_named
from serve_app.bench.metrics import Trace

ROWS = (1, 16, 32, 64)
ROUNDS = 3  # requests per client
LENGTHS = 5  # by how many patches requests differ, so that they do not all end and begin together
MODES = {"graphs": True, "eager": False}


@dataclass(frozen=True)
class Parts:
    network: VoxCPMNetwork
    new_wave_decoder: Callable[[int], WaveDecoder]


class EngineOnDevice:
    """An engine and its requests: random texts of one length."""

    def __init__(self, parts: Parts, options: Options, *, graphs: bool) -> None:
        """Blocks while graphs are captured; what the device cannot do is in `given_up`."""
        work, dims = options.work, parts.network.dims
        self._text_tokens, self._patches = work.text_tokens, work.patches
        self._vocabulary, self._rate_hz = min(dims.vocabulary, 500), dims.vae.out_sample_rate_hz
        began_s = time.monotonic()
        with given_up() as self.given_up:
            self.engine = VoxCPMEngine(
                parts.network,
                parts.new_wave_decoder,
                slots=rows_of(options)[-1],
                max_length=work.text_tokens + 1 + work.patches + LENGTHS,
                cuda_graphs=graphs,
            )
        self.start_s = time.monotonic() - began_s

    async def speak(self, number: int, began_s: float) -> Trace:
        """One request; what goes wrong is in the trace."""
        return await traced(self._samples(number), self._rate_hz, number, began_s)

    async def _samples(self, number: int) -> AsyncGenerator[Samples, None]:
        ids = np.random.default_rng(number).integers(2, self._vocabulary, self._text_tokens).tolist()
        patches = self._patches + number % LENGTHS
        job = VoxCPMJob(f"request-{number}", tuple(ids), len(ids), seed=number, max_patches=patches)
        async with aclosing(self.engine.stream(job)) as chunks:
            async for reply in chunks:
                yield reply.value.samples


def rows_of(options: Options) -> tuple[int, ...]:
    return ROWS if options.size == "full" else (*ROWS[:1], 4)


def checkpoint(options: Options, version: str) -> VoxCPMCheckpoint:
    if options.directory is not None:
        return VoxCPMCheckpoint(options.directory)
    name = f"voxcpm-{version}-{options.size}"
    directory = scratch_directory(name, "config.json", Path(random_voxcpm.__file__))
    return VoxCPMCheckpoint(random_voxcpm.write_checkpoint(directory, version, options.size))


def load(options: Options, version: str) -> Parts:
    found = checkpoint(options, version)
    return Parts(*load_parts(found, device=options.device, dtype=dtype_named(found.dims.dtype)))


def run(report: Report, options: Options, name: str, parts: Parts, mode: str) -> None:
    started = report.make(
        f"{name} {mode}, start", partial(EngineOnDevice, parts, options, graphs=MODES[mode])
    )
    if started is None:
        return
    started.engine.start()
    try:
        report.part(f"{name} {mode}, warming up", partial(spoken, started.speak, 2, 2))
        for rows in rows_of(options):
            action = partial(spoken, started.speak, rows, ROUNDS * rows)
            report.part(f"{name} {mode}, {rows} rows", action, at_least_s=3)
    finally:
        started.engine.stop()
    report.part(f"{name} {mode}, engine", partial(_about, started, parts, options))


def _about(started: EngineOnDevice, parts: Parts, options: Options) -> dict[str, Any]:
    return {
        "start_s": started.start_s,
        "given_up": started.given_up,
        "weights_bytes": sum(each.nbytes for each in parts.network.parameters()),
        "peak_bytes": torch.cuda.max_memory_allocated() if options.on_gpu else None,
    }


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {"version": tuple(random_voxcpm.VERSIONS)}, budget_s=180)
    report = Report.of("voxcpm", options)
    for version in options.words if options.directory is None else ("directory",):
        parts = report.make(f"{version}, load", partial(load, options, version))
        if parts is not None:
            for mode in MODES if options.on_gpu else ("eager",):
                run(report, options, version, parts, mode)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
