"""Work of a step in few shapes and static buffers, captured as CUDA graphs: one launch in place of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch

from deployments.core.logs import logger

Shape = TypeVar("Shape")
Result = TypeVar("Result")

SHORTEST_KEYS = 256


class GraphedWork(Generic[Shape, Result]):
    """`work(shape)` reads and writes buffers that stay in place, waits for nothing and copies nothing from the host.

    As long as no graph was captured for a shape, it runs eagerly. Its result is valid until the next call.
    """

    def __init__(self, work: Callable[[Shape], Result], shapes: Sequence[Shape]) -> None:
        """`shapes`, largest first: the smaller graphs then fit into the memory that the larger ones took."""
        self._work = work
        self._shapes = shapes
        self._graphs: dict[Shape, tuple[torch.cuda.CUDAGraph, Result]] = {}

    @property
    def captured(self) -> int:
        return len(self._graphs)

    def __call__(self, shape: Shape) -> Result:
        captured = self._graphs.get(shape)
        if captured is None:
            return self._work(shape)
        graph, result = captured
        graph.replay()
        return result

    def capture(self, pool: Any) -> None:
        for shape in self._shapes:
            self._capture(shape, pool)

    def forget(self) -> None:
        self._graphs.clear()

    def _capture(self, shape: Shape, pool: Any) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries allocate at their first call, which cannot be captured
            for _ in range(2):
                self._work(shape)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other stages may use the device from other threads of this process meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            result = self._work(shape)
        self._graphs[shape] = (graph, result)


@torch.inference_mode()
def try_to_capture(name: str, works: Sequence[GraphedWork[Any, Any]], device: torch.device) -> None:
    """All shapes of all works. Where that fails the reason is logged and everything runs eagerly. `name`: whose."""
    if device.type != "cuda":
        logger.info("CUDA graphs are off: %s runs on %s", name, device)
        return
    try:
        # Streams belong to the current device: on another one a capture would stay empty. And a capture that
        # fails leaves its stream the current one of this thread, which the outer context undoes.
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
            pool: Any = torch.cuda.graph_pool_handle()
            for work in works:
                work.capture(pool)
    except Exception as error:
        for work in works:
            work.forget()
        logger.warning(
            "CUDA graphs are off, steps of %s run eagerly: capturing failed (%s: %s)",
            name,
            type(error).__name__,
            error,
        )


def row_buckets(most: int) -> list[int]:
    """1, 2, 4, 8, then every 8 up to 32, then every 16 up to `most` or just above."""
    buckets = [1, 2, 4, 8]
    while buckets[-1] < most:
        buckets.append(buckets[-1] + (8 if buckets[-1] < 32 else 16))
    return [rows for rows in buckets if rows < most] + [smallest(buckets, most)]


def key_buckets(longest: int) -> list[int]:
    """Powers of two from SHORTEST_KEYS, and `longest`."""
    buckets = []
    keys = SHORTEST_KEYS
    while keys < longest:
        buckets.append(keys)
        keys *= 2
    return [*buckets, longest]


def smallest(buckets: Sequence[int], needed: int) -> int:
    """The smallest bucket that holds `needed`."""
    return next(bucket for bucket in buckets if bucket >= needed)
