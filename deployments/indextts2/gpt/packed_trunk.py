"""The GPT-2 blocks on a CPU, with packed weights: the same function as `Trunk` with `SpanAttention`.

At a few rows of a narrow model the calls from Python cost more than the arithmetic beside the linear layers, so all
layers are one TorchScript function: one call, in as few operations as possible.
"""

from __future__ import annotations

from typing import List, Optional  # noqa: UP035  TorchScript knows no other names

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deployments.indextts2.gpt.attention import Attention, SpanAttention
from deployments.indextts2.gpt.transformer import NORM_EPS, GptBlock, InputMajorLinear, Trunk
from deployments.networks.packed_linear import packed_weight


class PackedTrunk(nn.Module):
    """Takes the place of the trunk that it was made from, whose weights are let go one by one."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self._weights: list[Tensor] = []
        for number, block in enumerate(trunk.h):
            assert isinstance(block, GptBlock)
            self._weights += _block_weights(block)
            trunk.h[number] = nn.Identity()
        self._weights += _norm_weights(trunk.ln_f)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """As `Trunk.forward`."""
        assert isinstance(attention, SpanAttention)  # the one for CPUs
        cache, spans = attention.cache, attention.spans
        states: Tensor = _run(
            x,
            self._weights,
            cache.both,
            [span.slot for span in spans],
            [span.start for span in spans],
            [span.count for span in spans],
            attention.entries,
            attention.masks,
            NORM_EPS,
        )
        return states


def _block_weights(block: GptBlock) -> list[Tensor]:
    return [
        *_norm_weights(block.ln_1),
        *_linear_weights(block.attn.c_attn),
        *_linear_weights(block.attn.c_proj),
        *_norm_weights(block.ln_2),
        *_linear_weights(block.mlp.c_fc),
        *_linear_weights(block.mlp.c_proj),
    ]


def _norm_weights(norm: nn.LayerNorm) -> list[Tensor]:
    return [norm.weight.detach(), norm.bias.detach()]


def _linear_weights(layer: InputMajorLinear) -> list[Tensor]:
    return [packed_weight(layer.weight.t()), layer.bias.detach()]


def _blocks(
    x: Tensor,
    weights: List[Tensor],  # noqa: UP006
    cache: Tensor,
    slots: List[int],  # noqa: UP006
    starts: List[int],  # noqa: UP006
    counts: List[int],  # noqa: UP006
    entries: List[Optional[Tensor]],  # noqa: UP006, UP045
    masks: List[Optional[Tensor]],  # noqa: UP006, UP045
    eps: float,
) -> Tensor:
    """x (N,D) -> (N,D) after ln_f. cache (2, layers, slots, max_length, heads, head_dim): keys and values.

    Span i has counts[i] rows, behind those of the spans before it; further rows are padding. Each is computed by
    itself on exactly its own history, as in SpanAttention.
    """
    heads, dim = cache.size(4), cache.size(5)
    width = heads * dim
    shape = [width]
    attended = torch.zeros_like(x)
    for layer in range(cache.size(1)):
        w = weights[12 * layer : 12 * (layer + 1)]  # those of _block_weights
        normed = torch.layer_norm(x, shape, w[0], w[1], eps)
        qkv = torch.ops.mkldnn._linear_pointwise(normed, w[2], w[3], "none", [], "")
        both = cache.select(1, layer)
        first = 0
        for i in range(len(slots)):
            count, stop = counts[i], starts[i] + counts[i]
            at = 3 * width * first
            history = both.select(1, slots[i])
            new = qkv.as_strided([2, count, heads, dim], [width, 3 * width, dim, 1], at + width)
            history.narrow(1, starts[i], count).copy_(new)
            own = history.narrow(1, 0, stop)
            scattered = entries[i]
            if scattered is not None:
                own = both.flatten(1, 2).index_select(1, scattered)
            keys, values = own.transpose(1, 2).unsqueeze(1).unbind(0)
            mask = masks[i]
            result = F.scaled_dot_product_attention(
                qkv.as_strided([1, heads, count, dim], [0, dim, 3 * width, 1], at),
                keys,
                values,
                mask,
                is_causal=mask is None and count > 1,
            )
            rows = attended.as_strided([1, heads, count, dim], [0, dim, width, 1], width * first)
            rows.copy_(result)
            first += count
        x = torch.ops.mkldnn._linear_pointwise(attended, x, w[4], w[5], "add")
        normed = torch.layer_norm(x, shape, w[6], w[7], eps)
        wide = torch.ops.mkldnn._linear_pointwise(normed, w[8], w[9], "gelu", [], "tanh")
        x = torch.ops.mkldnn._linear_pointwise(wide, x, w[10], w[11], "add")
    return torch.layer_norm(x, shape, weights[-2], weights[-1], eps)


_run = torch.jit.script(_blocks)
