"""How far results are apart, in which number format and how float32 is computed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.weights.tensors import dtype_named

Stage = TypeVar("Stage")


def check_formats(
    report: Report,
    options: Options,
    name: str,
    load: Callable[[str, torch.dtype], Stage],
    checks: Callable[[Stage, float, bool], list[Check]],
    limits: Mapping[str, float],
    tf32_limit: float,
) -> None:
    """Parts of a stage in each format of `limits`: float32 exactly and, on a GPU, once more as the server runs it.

    load(device, dtype); checks(stage, limit, exact).
    """
    for dtype, limit in limits.items():
        stage = report.make(f"{name} {dtype}, load", partial(load, options.device, dtype_named(dtype)))
        if stage is None:
            continue
        exact = dtype == "float32"
        with tf32(False):
            report.part(f"{name} {dtype}", partial(checks, stage, limit, exact))
        if exact and options.on_gpu:
            with torch_default_tf32():
                report.part(
                    f"{name} {dtype}, convolutions in TF32", partial(checks, stage, tf32_limit, False)
                )


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """Whether float32 products and convolutions may be rounded to 10 bits; torch's default is no and yes."""
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32
    matmul.allow_tf32 = convolutions.allow_tf32 = on
    try:
        yield
    finally:
        matmul.allow_tf32, convolutions.allow_tf32 = before


@contextmanager
def torch_default_tf32() -> Iterator[None]:
    """What the server runs with: products exact, convolutions rounded."""
    with tf32(False):
        torch.backends.cudnn.allow_tf32 = True
        yield


def distance(found: Any, expected: Any, *, centre: float = 0.0) -> float:
    """‖found − expected‖ / ‖expected − centre‖; not a number if anything is not finite."""
    found, expected = (np.asarray(_host(value), np.float64) for value in (found, expected))
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, expected {expected.shape}")
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected - centre))


def furthest(found: Any, expected: Any) -> float:
    """Largest difference of any two values."""
    found, expected = (np.asarray(_host(value), np.float64) for value in (found, expected))
    return float(np.abs(found - expected).max())


def _host(value: Any) -> Any:
    return value.detach().float().cpu().numpy() if isinstance(value, torch.Tensor) else value


def first_difference(found: Sequence[int], expected: Sequence[int]) -> int | None:
    """Index of the first code that differs, or where one ends; None if they are equal."""
    if list(found) == list(expected):
        return None
    pairs = enumerate(zip(found, expected, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(found), len(expected)))


def agreement(found: Sequence[Sequence[int]], expected: Sequence[Sequence[int]]) -> float:
    """Share of codes before the first that differs, over all rows."""
    same = [
        len(b) if (at := first_difference(a, b)) is None else at for a, b in zip(found, expected, strict=True)
    ]
    return sum(same) / sum(len(b) for b in expected)
