"""Where a code should look in the text, told to one head of two layers while the alignment is not yet learnt.

Speech runs through its text at a nearly even pace, so the code at a share of the way belongs to the piece of text at
that share (guided attention, Tachibana et al. 2018, here with a hard band and with the mass inside of it as the aim).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.gpt_data import PREFIX_ROWS, Sentence

GUIDED_LAYERS = (2, 3)
GUIDED_HEAD = 0
LEAST_PIECES = 6  # half width of the band, in pieces of text: about a word to each side
PIECES_OF_TEXT = 0.06  # and more in long texts, whose pace varies more
FLOOR = 1e-4
HIDDEN = -1e4  # added to the scores of what comes later


class PackedCausal:
    """Attention over B rows of equal padded length, as the served trunk asks for it: flat rows in and out.

    With `bands` (B, T, T), true where a row should look, `astray` holds the loss of the guided heads afterwards.
    No dropout here: it costs a fifth of the time of a step.
    """

    def __init__(self, rows: int, heads: int, bands: Tensor | None = None) -> None:
        self._rows, self._heads = rows, heads
        self._bands = bands
        self.astray: list[Tensor] = []

    def __call__(self, layer: int, qkv: Tensor) -> Tensor:
        q, k, v = qkv.view(self._rows, -1, 3, self._heads, qkv.shape[-1] // 3 // self._heads).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if self._bands is not None and layer in GUIDED_LAYERS:
            self.astray.append(_outside(q[:, GUIDED_HEAD], k[:, GUIDED_HEAD], self._bands))
        mixed = self._mix(q, k, v)
        return mixed.transpose(1, 2).reshape(len(qkv), -1)

    @staticmethod
    def _mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """On a CPU these lengths are trained twice as fast by plain products as by the fused kernel."""
        if q.device.type != "cpu":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        shape = q.shape[:2]
        q, k, v = (part.flatten(0, 1) for part in (q / math.sqrt(q.shape[-1]), k, v))
        length = q.shape[1]
        later = torch.full((length, length), HIDDEN, dtype=q.dtype).triu(1).expand(len(q), -1, -1)
        mixed = torch.baddbmm(later, q, k.transpose(1, 2)).softmax(-1, dtype=q.dtype) @ v
        return mixed.unflatten(0, shape)


def _outside(q: Tensor, k: Tensor, bands: Tensor) -> Tensor:
    """-log of the attention inside the band, mean over the rows that have one."""
    scores = (q @ k.transpose(1, 2)).float() / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[1:], dtype=torch.bool, device=q.device).triu(1)
    attention = scores.masked_fill(later, -torch.inf).softmax(-1)
    guided = bands.any(-1)
    inside = (attention * bands).sum(-1)[guided]
    return -(inside + FLOOR).log().mean()


def bands(sentences: list[Sentence], width: int, device: str) -> Tensor:
    """(B, width, width): for every code of a sentence, the pieces of text it may belong to."""
    found = torch.zeros(len(sentences), width, width, dtype=torch.bool, device=device)
    for row, sentence in enumerate(sentences):
        pieces, codes = len(sentence.ids) + 2, len(sentence.codes) + 1
        half = LEAST_PIECES + PIECES_OF_TEXT * pieces
        piece = torch.arange(pieces, device=device)
        centre = torch.arange(codes, device=device) * (pieces - 1) / max(1, codes - 1)
        first = PREFIX_ROWS + pieces
        found[row, first : first + codes, PREFIX_ROWS:first] = (piece[None] - centre[:, None]).abs() <= half
    return found
