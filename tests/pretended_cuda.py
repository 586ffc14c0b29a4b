"""CUDA graphs on the pretended GPU: what a capture did is done again, on the same memory, at every replay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pretended_gpu import Call, PretendedGpu

PROPERTIES = SimpleNamespace(name="Pretended", major=9, minor=0, multi_processor_count=1, total_memory=10**9)


class PretendedGraph:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        with torch._C.DisableTorchFunction():
            for call in self.calls:
                call.again()


class PretendedStream:
    def wait_stream(self, other: PretendedStream) -> None:
        pass


class PretendedCuda:
    """In place of `torch.cuda`. `devices` are the current ones, the innermost last; `captured_on` those of captures."""

    def __init__(self, gpu: PretendedGpu) -> None:
        self.gpu = gpu
        self.graphs: list[PretendedGraph] = []
        self.devices = [torch.device("cuda", 0)]
        self.captured_on: set[torch.device] = set()
        self.streams = [PretendedStream()]
        self.fail_at: int | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("graph", "device", "stream", "current_stream"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", PretendedGraph)
        monkeypatch.setattr(torch.cuda, "Stream", PretendedStream)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: PROPERTIES)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 1)
        for name in ("synchronize", "reset_peak_memory_stats", "empty_cache"):
            monkeypatch.setattr(torch.cuda, name, lambda: None)

    def current_stream(self, device: Any = None) -> PretendedStream:
        return self.streams[-1]

    @contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.devices.append(torch.device(device))
        try:
            yield
        finally:
            self.devices.pop()

    @contextmanager
    def stream(self, stream: PretendedStream) -> Iterator[None]:
        before = len(self.streams)
        self.streams.append(stream)
        try:
            yield
        finally:
            del self.streams[before:]

    @contextmanager
    def graph(
        self, graph: PretendedGraph, *, pool: Any = None, capture_error_mode: str = ""
    ) -> Iterator[None]:
        self.captured_on.add(self.devices[-1])
        self.streams.append(PretendedStream())
        self.gpu.calls = graph.calls
        try:
            yield
            if self.fail_at == len(self.graphs):
                # As in torch: an error at the end of a capture leaves its stream the current one.
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        finally:
            self.gpu.calls = None
        self.streams.pop()
        self.graphs.append(graph)
