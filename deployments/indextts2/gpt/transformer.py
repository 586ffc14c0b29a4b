"""The GPT-2 blocks between embeddings and head; positions are added outside (indextts2-front.md 6.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deployments.indextts2.dims import GptDims
from deployments.indextts2.gpt.attention import Attention

NORM_EPS = 1e-5


class InputMajorLinear(nn.Module):
    """y = x·A + b with A (in, out), as GPT-2 stores it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class SelfAttention(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c_attn = InputMajorLinear(dim, 3 * dim)
        self.c_proj = InputMajorLinear(dim, dim)


class FeedForward(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c_fc = InputMajorLinear(dim, 4 * dim)
        self.c_proj = InputMajorLinear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class GptBlock(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = SelfAttention(dim)
        self.ln_2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = FeedForward(dim)

    def before(self, x: Tensor) -> Tensor:
        """(N,D) -> what attention takes, (N, 3·D)."""
        return self.attn.c_attn(self.ln_1(x))

    def after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.attn.c_proj(attended)
        return x + self.mlp(self.ln_2(x))


class Trunk(nn.Module):
    """All blocks and the norm behind them."""

    def __init__(self, dims: GptDims) -> None:
        super().__init__()
        self.h = nn.ModuleList(GptBlock(dims.model_dim) for _ in range(dims.layers))
        self.ln_f = nn.LayerNorm(dims.model_dim, eps=NORM_EPS)
        self._before: Callable[[GptBlock, Tensor], Tensor] = GptBlock.before
        self._after: Callable[[GptBlock, Tensor, Tensor], Tensor] = GptBlock.after

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """Rows (N,D), of whichever sequences `attention` knows -> (N,D) after ln_f."""
        block: Any  # a GptBlock
        for layer, block in enumerate(self.h):
            x = self._after(block, x, attention(layer, self._before(block, x)))
        return self.ln_f(x)

    def compile_blocks(self, on: bool = True) -> None:
        """Let torch.compile fuse what lies between attentions; one compilation serves all layers and row counts."""
        self._before = torch.compile(GptBlock.before, dynamic=True) if on else GptBlock.before
        self._after = torch.compile(GptBlock.after, dynamic=True) if on else GptBlock.after
