"""Where tests marked `gpu` run: on the card of this machine, else on a pretended one.

Every stage of IndexTTS2 has such tests. Kokoro has none: it runs on CPUs alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from pretended_cuda import PretendedCuda
from pretended_gpu import PretendedGpu

# Largest differences of float32 results: a pretended card computes as the CPU does, a real one in another order.
PRETENDED, REAL = 5e-5, 2e-3


@dataclass(frozen=True)
class Gpu:
    is_real: bool
    device: str = "cuda"

    def assert_close(self, found: np.ndarray, expected: np.ndarray) -> None:
        """Results of this device in float32, and those of a CPU."""
        np.testing.assert_allclose(found, expected, atol=REAL if self.is_real else PRETENDED, rtol=0)


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> Iterator[Gpu]:
    if not torch.cuda.is_available():
        request.getfixturevalue("pretended_cuda")
        yield Gpu(is_real=False)
        return
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield Gpu(is_real=True)


@pytest.fixture
def pretended_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedCuda]:
    """A pretended card, here and in all threads that start meanwhile, such as those of engines."""
    gpu = PretendedGpu()
    cuda = PretendedCuda(gpu)
    cuda.install(monkeypatch)
    run = threading.Thread.run

    def run_within(thread: threading.Thread) -> None:
        with gpu:
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", run_within)
    with gpu:
        yield cuda


@pytest.fixture
def pretended_gpu(pretended_cuda: PretendedCuda) -> PretendedGpu:
    """For tests of what a real card cannot tell: how often the host waited for it, and what was sent there."""
    return pretended_cuda.gpu
