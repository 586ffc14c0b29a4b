"""What the device keeps of every row, by slot (voxcpm.md 13)."""

from __future__ import annotations

import torch

from deployments.voxcpm.network import VoxCPMNetwork


class SlotStates:
    """base, residual (slots, H): states that condition the next patch; patch (slots, P, D) float32: the last one, zeros
    before the first; `cache`: keys and values of both language models. The last slot, `scratch`, is no row's: what only
    fills a batch is written there."""

    def __init__(self, network: VoxCPMNetwork, slots: int, max_length: int) -> None:
        dims, device = network.dims, network.device
        self.scratch = slots
        self.cache = network.new_slots(slots + 1, max_length)
        self.base, self.residual = (
            torch.zeros(slots + 1, dims.base.hidden, dtype=network.dtype, device=device) for _ in range(2)
        )
        self.patch = torch.zeros(slots + 1, dims.patch_size, dims.latent_dim, device=device)
