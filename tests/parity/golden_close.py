"""Comparing with golden tensors."""

from __future__ import annotations

import torch
from torch import Tensor

USUAL_PEAK = 10.0


def close(actual: Tensor, expected: Tensor, limit: float) -> None:
    """All differences at most `limit`, which is meant for values up to 10: rounding grows with the largest value that a
    sum goes through, so where a set holds larger ones the limit grows with them."""
    peak = expected.abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(actual, expected, atol=limit * max(1.0, peak / USUAL_PEAK), rtol=0)
