from __future__ import annotations

import torch

from deployments.indextts2.vocoder.pcm import int16, scaled


def test_scaled_and_clamped() -> None:
    assert scaled(torch.tensor([0.5, 1.0, -1.0, 1.5])).tolist() == [16383.5, 32767.0, -32767.0, 32767.0]


def test_truncation_toward_zero() -> None:
    assert int16(torch.tensor([0.5, -0.5, 1.0, -1.0])).tolist() == [16383, -16383, 32767, -32767]
