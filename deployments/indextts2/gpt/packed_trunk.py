"""The GPT-2 blocks on a CPU, with packed weights: the same function as `Trunk`, in as few calls as possible. At a few
rows of a narrow model the calls from Python cost as much as the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deployments.indextts2.gpt.attention import Attention
from deployments.indextts2.gpt.transformer import GptBlock, InputMajorLinear, Trunk
from deployments.networks.packed_linear import AS_IT_IS, GELU_TANH, PackedLinear


@dataclass(frozen=True, slots=True)
class Norm:
    weight: Tensor
    bias: Tensor
    eps: float

    @staticmethod
    def of(norm: nn.LayerNorm) -> Norm:
        return Norm(norm.weight.detach(), norm.bias.detach(), norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.native_layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)[0]


class PackedBlock:
    """Not a module: every call of a module costs some microseconds more."""

    def __init__(self, block: GptBlock) -> None:
        self.attention_norm = Norm.of(block.ln_1)
        self.attention_in = _packed(block.attn.c_attn).forward
        self.add_attention = _packed(block.attn.c_proj).added_to
        self.feed_forward_norm = Norm.of(block.ln_2)
        self.feed_forward_in = _packed(block.mlp.c_fc, GELU_TANH).forward
        self.add_feed_forward = _packed(block.mlp.c_proj).added_to


class PackedTrunk(nn.Module):
    """Takes the place of the trunk that it was made from, whose weights are let go one by one."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        blocks = trunk.h
        self._blocks: list[PackedBlock] = []
        for number, block in enumerate(blocks):
            assert isinstance(block, GptBlock)
            self._blocks.append(PackedBlock(block))
            blocks[number] = nn.Identity()
        self._last_norm = Norm.of(trunk.ln_f)

    def forward(self, x: Tensor, attention: Attention) -> Tensor:
        """As `Trunk.forward`."""
        for layer, block in enumerate(self._blocks):
            x = block.add_attention(x, attention(layer, block.attention_in(block.attention_norm(x))))
            x = block.add_feed_forward(x, block.feed_forward_in(block.feed_forward_norm(x)))
        return self._last_norm(x)


def _packed(layer: InputMajorLinear, activation: tuple[str, str] = AS_IT_IS) -> PackedLinear:
    return PackedLinear(layer.weight.t(), layer.bias, activation)
