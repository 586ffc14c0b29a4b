"""How far results are apart, and how float32 is computed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


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
