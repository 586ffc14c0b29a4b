"""The transformer tower that language models, patch encoder and patch decoder are made of (voxcpm.md 5)."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deployments.voxcpm.dims import TowerDims
from deployments.voxcpm.lm.rope import Rotation


class Attend(Protocol):
    """Of one pass through a tower: one object for all layers. Leading dims are the positions, however arranged."""

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (..., heads, head_dim), k and v (..., kv_heads, head_dim) -> (..., heads · head_dim)."""
        ...


class SplitAttention(nn.Module):
    """Projections as the checkpoint has them; `fuse_projections` replaces them."""

    def __init__(self, dims: TowerDims) -> None:
        super().__init__()
        self.q_proj = nn.Linear(dims.hidden, dims.heads * dims.head_dim, bias=False)
        self.k_proj = nn.Linear(dims.hidden, dims.kv_heads * dims.head_dim, bias=False)
        self.v_proj = nn.Linear(dims.hidden, dims.kv_heads * dims.head_dim, bias=False)
        self.o_proj = nn.Linear(dims.heads * dims.head_dim, dims.hidden, bias=False)

    def project(self, x: Tensor) -> Tensor:
        return torch.cat((self.q_proj(x), self.k_proj(x), self.v_proj(x)), dim=-1)


class FusedAttention(nn.Module):
    def __init__(self, split: SplitAttention) -> None:
        super().__init__()
        self.qkv_proj = _joined(split.q_proj, split.k_proj, split.v_proj)
        self.o_proj = split.o_proj

    def project(self, x: Tensor) -> Tensor:
        qkv: Tensor = self.qkv_proj(x)
        return qkv


class SplitMlp(nn.Module):
    """As the checkpoint has it; `fuse_projections` replaces it."""

    def __init__(self, dims: TowerDims) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(dims.hidden, dims.ffn, bias=False)
        self.up_proj = nn.Linear(dims.hidden, dims.ffn, bias=False)
        self.down_proj = nn.Linear(dims.ffn, dims.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class FusedMlp(nn.Module):
    def __init__(self, split: SplitMlp) -> None:
        super().__init__()
        self.gate_up_proj = _joined(split.gate_proj, split.up_proj)
        self.down_proj = split.down_proj

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class TowerBlock(nn.Module):
    def __init__(self, dims: TowerDims) -> None:
        super().__init__()
        self.dims = dims
        self.input_layernorm = nn.RMSNorm(dims.hidden, eps=dims.eps)
        self.self_attn: Any = SplitAttention(dims)
        self.post_attention_layernorm = nn.RMSNorm(dims.hidden, eps=dims.eps)
        self.mlp: Any = SplitMlp(dims)

    def forward(self, x: Tensor, layer: int, attend: Attend, rotation: Rotation | None) -> Tensor:
        attended = self.self_attn.o_proj(self._attended(self.input_layernorm(x), layer, attend, rotation))
        x = x + self._scaled(attended)
        return x + self._scaled(self.mlp(self.post_attention_layernorm(x)))

    def _attended(self, x: Tensor, layer: int, attend: Attend, rotation: Rotation | None) -> Tensor:
        dims = self.dims
        qkv = self.self_attn.project(x).unflatten(-1, (-1, dims.head_dim))
        qk, v = qkv.split((dims.heads + dims.kv_heads, dims.kv_heads), dim=-2)
        if rotation is not None:
            qk = rotation(qk)
        q, k = qk.split((dims.heads, dims.kv_heads), dim=-2)
        return attend(layer, q, k, v)

    def _scaled(self, x: Tensor) -> Tensor:
        return x if self.dims.residual_scale == 1.0 else x * self.dims.residual_scale


class Tower(nn.Module):
    """Attribute names are the checkpoint's keys. `first_layer` is the number of its first layer in what it attends
    to: towers that share slots of keys and values have layers of their own there."""

    def __init__(self, dims: TowerDims, first_layer: int = 0) -> None:
        super().__init__()
        self.dims = dims
        self.first_layer = first_layer
        self.layers = nn.ModuleList(TowerBlock(dims) for _ in range(dims.layers))
        self.norm = nn.RMSNorm(dims.hidden, eps=dims.eps)

    def forward(self, x: Tensor, attend: Attend, rotation: Rotation | None) -> Tensor:
        """(..., hidden) -> (..., hidden) after the final norm."""
        for layer, block in enumerate(self.layers, start=self.first_layer):
            x = block(x, layer, attend, rotation)
        return self.norm(x)


def fuse_projections(module: nn.Module) -> None:
    """Put the projections that take the same input into one matrix each, everywhere inside `module`: fewer, larger
    products. The old weights are let go one by one."""
    for name, child in list(module.named_children()):
        if isinstance(child, SplitAttention):
            setattr(module, name, FusedAttention(child))
        elif isinstance(child, SplitMlp):
            setattr(module, name, FusedMlp(child))
        else:
            fuse_projections(child)


def _joined(*layers: nn.Linear) -> nn.Linear:
    weight = torch.cat([layer.weight for layer in layers])
    with torch.device("meta"):
        joined = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    joined.weight = nn.Parameter(weight, requires_grad=False)
    return joined
