"""Windows of a mel through a vocoder, each with its halo."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def windows_joined(vocoder: Any, mel: Tensor, cuts: Sequence[int]) -> Tensor:
    """Samples of a mel (bands, T), made window by window between `cuts`, without what their halos gave."""
    halo, hop, frames = vocoder.halo_frames, vocoder.hop, mel.shape[-1]
    parts = []
    for start, end in itertools.pairwise(cuts):
        first, last = max(0, start - halo), min(frames, end + halo)
        wave = vocoder(mel[None, :, first:last])[0]
        parts.append(wave[hop * (start - first) : hop * (end - first)])
    return torch.cat(parts)
