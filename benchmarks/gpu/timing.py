"""Seconds of an action on a device, and the three ways to run a network: as it is, compiled, as a CUDA graph."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.options import Options

ENOUGH_S = 0.5
MOST, LEAST = 50, 2
COMPILE_S = 60.0  # that torch.compile may take


@dataclass(frozen=True)
class Timing:
    """Of one execution, waited for: the median and the fewest seconds, of how many; None where it did not run."""

    median_s: float | None
    best_s: float | None
    repeats: int
    first_s: float | None  # the very first execution, with what it compiles
    peak_bytes: int | None = None
    error: str | None = None

    def __str__(self) -> str:
        if self.median_s is None:
            return f"failed ({self.error})"
        return f"{1000 * self.median_s:.2f} ms"


@torch.inference_mode()
def timed(name: str, action: Callable[[], object], options: Options) -> Timing:
    """What `action` raises is told in the result: one shape that does not fit must not lose the others."""
    timing = _timed(action, options.on_gpu, ENOUGH_S if options.size == "full" else 0.0)
    print(f"  {name}: {timing}", flush=True)
    return timing


def _timed(action: Callable[[], object], on_gpu: bool, enough_s: float) -> Timing:
    try:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        first_s = _seconds(action, on_gpu)
        _seconds(action, on_gpu)
        taken: list[float] = []
        while len(taken) < LEAST or (len(taken) < MOST and sum(taken) < enough_s):
            taken.append(_seconds(action, on_gpu))
    except Exception as error:
        return Timing(None, None, 0, None, error=f"{type(error).__name__}: {error}")
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    return Timing(statistics.median(taken), min(taken), len(taken), first_s, peak)


def _seconds(action: Callable[[], object], on_gpu: bool) -> float:
    began_s = time.perf_counter()
    action()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - began_s


def ways(action: Callable[[], Tensor], options: Options, *, name: str = "") -> Iterator[tuple[str, Timing]]:
    """`action` as it is and, on a GPU, as a CUDA graph."""
    yield name or "eager", timed(name or "eager", action, options)
    if options.on_gpu:
        way = f"{name}+graph" if name else "graph"
        yield way, timed(way, _when_called(action), options)


def _when_called(action: Callable[[], Tensor]) -> Callable[[], object]:
    """Captured at the first call, so that a failure is one of the timing."""
    replays: list[Callable[[], None]] = []

    def replay() -> None:
        if not replays:
            replays.append(as_graph(action))
        replays[0]()

    return replay


@torch.inference_mode()
def as_graph(action: Callable[[], Tensor]) -> Callable[[], None]:
    """`action`, which must do the same work each time, as a replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            action()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kept = action()

    def replay(kept: Tensor = kept) -> None:  # the output's memory must live as long as the graph
        graph.replay()

    return replay
