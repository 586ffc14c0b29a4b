"""The pretended GPU refuses what a GPU refuses, and counts what makes it wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from pretended_cuda import PretendedCuda
from pretended_gpu import GPU, PretendedGpu


def test_operands_on_two_devices_are_refused(pretended_gpu: PretendedGpu) -> None:
    on_gpu = torch.ones(2, 3, device="cuda")
    assert on_gpu.device == GPU
    assert (on_gpu * 2).to("cpu").device.type == "cpu"
    with pytest.raises(RuntimeError, match="same device"):
        on_gpu + torch.ones(2, 3)
    with pytest.raises(TypeError, match="numpy"):
        on_gpu.numpy()


def test_what_waits_and_what_is_sent_is_counted(pretended_gpu: PretendedGpu) -> None:
    on_gpu = torch.arange(3.0).to("cuda")
    assert pretended_gpu.uploads == 1
    assert on_gpu.sum().item() == 3
    assert on_gpu[on_gpu > 0].cpu().tolist() == [1, 2]
    assert pretended_gpu.waits == {"item": 1, "__getitem__": 1, "cpu": 1}


def test_threads_that_start_meanwhile_have_it_too(pretended_gpu: PretendedGpu) -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: torch.ones(1, device="cuda").device).result() == GPU


def test_a_graph_repeats_what_was_captured(pretended_cuda: PretendedCuda) -> None:
    given, factor = torch.zeros(2, device="cuda"), 2
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = given * factor
    given.copy_(torch.ones(2))
    factor = 3
    graph.replay()
    assert made.cpu().tolist() == [2, 2]
    with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        given.cpu()
