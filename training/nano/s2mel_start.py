"""s2mel networks at the start of a training, and the training-only head."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from deployments.indextts2.s2mel.dims import TIME_FREQUENCIES, S2MelDims
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.networks.weight_norm import fold_weight_norm
from training.nano.config import CONFIG, MEL_BANDS, STYLE_WIDTH

_SMALL = ("attention.wo.weight", "feed_forward.w2.weight")
_ZERO = ("final_layer.adaLN_modulation.1", "gpt_layer.2")


def new_networks(mean_mel: Tensor) -> S2MelNetworks:
    """Served networks, weight norms folded; `mean_mel` (80,) becomes the bias of the last layer.

    Starts that matter (recipe.md 6): gains 1 and biases 0 from the adaptive norms, small outputs of the
    blocks, no modulation at the end, nothing from the GPT latents at first.
    """
    networks = S2MelNetworks(S2MelDims.from_config(CONFIG))
    tensors = networks.state_dict()
    with torch.no_grad():
        for name, value in tensors.items():
            if name.endswith("weight_g"):
                direction = tensors[name[:-1] + "v"]
                value.copy_(direction.flatten(1).norm(dim=1).view_as(value))
            elif name.endswith("freqs"):
                value.copy_(torch.exp(-math.log(10_000) * torch.arange(TIME_FREQUENCIES) / TIME_FREQUENCIES))
            elif name.endswith("project_layer.weight"):
                nn.init.normal_(value, std=0.02)
            elif name.endswith("project_layer.bias"):
                value.copy_((torch.arange(len(value)) < len(value) // 2).float())
            elif name.endswith(_SMALL):
                nn.init.normal_(value, std=0.01)
            elif any(part in name for part in _ZERO):
                value.zero_()
            elif name.endswith("estimator.conv2.bias"):
                value.copy_(mean_mel)
    fold_weight_norm(networks)
    return networks.requires_grad_(True)


class DirectHead(nn.Module):
    """Mel straight from the condition and the style."""

    def __init__(self, mean_mel: Tensor) -> None:
        super().__init__()
        channels = CONFIG["s2mel"]["length_regulator"]["channels"]
        self.inner = nn.Linear(channels + STYLE_WIDTH, 256)
        self.out = nn.Linear(256, MEL_BANDS)
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_(mean_mel)

    def forward(self, mu: Tensor, style: Tensor) -> Tensor:
        """(B, T, C), (B, 192) to (B, T, 80)."""
        both = torch.cat([mu, style[:, None].expand(-1, mu.shape[1], -1)], dim=-1)
        found: Tensor = self.out(nn.functional.silu(self.inner(both)))
        return found
