"""A training-only task of the GPT: which phone sounds with the next code, and which one follows it.

The codes name one phone in eight wrong, and s2mel would speak it so. But the GPT has read the text: asked for the
phone, its states say what was meant, and s2mel gets these states beside the codes (indextts2-back.md 3.1).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nano.config import PHONE_CLASSES


def now_and_next(phones: np.ndarray) -> np.ndarray:
    """(n,) to (n, 2): the phone of every code and the next different one, at the end silence."""
    starts = np.flatnonzero(np.diff(phones)) + 1
    following = np.append(phones[starts], 0)
    return np.stack(
        [phones, following[np.searchsorted(starts, np.arange(len(phones)), side="right")]], axis=1
    )


class PhoneHead(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.out = nn.Linear(width, 2 * PHONE_CLASSES)

    def forward(self, states: Tensor, phones: Tensor) -> tuple[Tensor, Tensor]:
        """States (N, D) and what is asked of them (N, 2): cross-entropy, and the share of phones named right now."""
        logits = self.out(states).view(-1, PHONE_CLASSES)
        right = (logits[::2].argmax(-1) == phones[:, 0]).float().mean()
        return F.cross_entropy(logits, phones.flatten()), right


def stacked_phones(rows: list[np.ndarray], device: str) -> Tensor:
    """What the states before the codes of several sentences are asked, (N, 2)."""
    return torch.from_numpy(np.concatenate([now_and_next(row) for row in rows])).to(device)
