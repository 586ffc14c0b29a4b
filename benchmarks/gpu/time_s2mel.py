"""What one Euler step costs, as the engine makes it; its network as it is, as a CUDA graph, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Report
from benchmarks.gpu.timing import COMPILE_S, timed, ways
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.estimator import Estimator
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.layout import make_layout

ROWS = (1, 2, 4, 8, 16, 32)
TARGETS = (60, 200)  # a first chunk, and a segment of 2.3 s
GUIDED_PAIR = 2


def time_s2mel(report: Report, options: Options) -> None:
    checkpoint = options.checkpoint()
    for name, dtype in options.dtypes.items():
        estimator = report.make(f"s2mel {name}, load", partial(load, checkpoint, options.device, dtype))
        if estimator is None:
            continue
        report.part(f"s2mel {name}, steps of the engine", partial(_steps, estimator, options), at_least_s=5)
        if name != "float16":
            report.part(f"s2mel {name}, network", partial(_network, estimator, options), at_least_s=10)


def time_s2mel_compiled(report: Report, options: Options) -> None:
    """What torch.compile would gain: the server has no switch for it yet."""
    checkpoint = options.checkpoint()
    for name in options.work.dtypes[:2]:
        compiled = partial(_compiled, checkpoint, name, options)
        report.part(f"s2mel {name}, compiled", compiled, at_least_s=COMPILE_S)


def load(checkpoint: IndexTTSCheckpoint, device: str, dtype: torch.dtype) -> Estimator:
    networks, _ = load_networks(checkpoint, device=device, dtype=dtype)
    return networks.estimator


def _rows(solver: FlowSolver, count: int, prompt: int, target: int, guidance: float) -> list[FlowRow]:
    dims, frames = solver.estimator.dims, prompt + target
    return [
        solver.admit(
            torch.randn(dims.mel_channels, frames),
            torch.randn(dims.mel_channels, prompt) - 5,
            torch.randn(frames, dims.content),
            torch.randn(dims.style),
            guidance=guidance,
        )
        for _ in range(count)
    ]


def _steps(estimator: Estimator, options: Options) -> list[dict[str, Any]]:
    """Guided rows, all at other times, and lone ones without guidance."""
    solver = FlowSolver(estimator)
    found = []
    batches = ROWS if options.size == "full" else ROWS[:1]
    for target in TARGETS if options.size != "tiny" else TARGETS[:1]:
        for count, guidance in [(1, 0.0), *((rows, 0.7) for rows in batches)]:
            rows = _rows(solver, count, options.work.prompt_frames, target, guidance)

            def step(rows: list[FlowRow] = rows) -> None:
                for i, row in enumerate(rows):
                    row.step = i % 20
                    row.x.clamp_(-10, 10)
                solver.advance(rows)

            timing = timed(f"{count} rows, guidance {guidance}, {target} frames", step, options)
            found.append({"rows": count, "guidance": guidance, "target": target, **asdict(timing)})
    return found


@torch.inference_mode()
def _network(estimator: Estimator, options: Options) -> list[dict[str, Any]]:
    """One evaluation for a guided pair, and for eight of them."""
    found = []
    for rows in (2, 16) if options.size == "full" else (2,):
        for target in TARGETS if options.size != "tiny" else TARGETS[:1]:
            for way, timing in ways(evaluation(estimator, rows, options.work.prompt_frames, target), options):
                found.append({"way": way, "rows": rows, "target": target, **asdict(timing)})
    return found


@torch.inference_mode()
def _compiled(checkpoint: IndexTTSCheckpoint, name: str, options: Options) -> dict[str, Any]:
    """A guided pair with a first chunk, to be compared with the part "network"."""
    estimator = load(checkpoint, options.device, options.dtypes[name])
    compiled: Any = torch.compile(estimator, dynamic=False)
    action = evaluation(estimator, GUIDED_PAIR, options.work.prompt_frames, TARGETS[0], compiled)
    return {way: asdict(timing) for way, timing in ways(action, options, name="compile")}


def evaluation(
    estimator: Estimator, rows: int, prompt: int, target: int, network: Any = None
) -> Callable[[], Tensor]:
    """One evaluation of all rows at one time; `network`: what runs in place of the estimator."""
    dims, frames, device = estimator.dims, prompt + target, estimator.device
    merged = torch.randn(rows, frames, dims.hidden, device=device, dtype=estimator.dtype)
    x = torch.randn(rows, frames, dims.mel_channels, device=device, dtype=estimator.dtype)
    times = estimator.project_times(torch.full((1,), 0.4, device=device))
    layout = make_layout(
        [frames] * rows,
        [prompt] * rows,
        halo=dims.head_halo_frames,
        padding=dims.wavenet_padding,
        device=device,
    )
    runs = estimator if network is None else network
    return lambda: runs(merged, x, times, layout)
