"""Step 7a: s2mel learns on against a judge of its mels and for a listener. `python -m training.nano.sharpen`.

An L1 loss asks for the middle of what is possible, so few steps make blurred mels. Here a small discriminator compares
the mel that the velocity leads to with the recording's; its gradient joins the flow's own, at the network's output and
with a fixed share of its length (the adaptive weight of VQGAN, Esser et al. 2021), so that no scale has to be guessed.
The listener, which stays as it is, asks for the phones that it hears in the recording, whatever the codes say.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.discriminators import contest, maps_of
from training.nano.listener import SPREAD, Listener
from training.nano.optimise import Descent, Schedule
from training.nano.s2mel import BATCH, Flow, S2MelTraining, Shown
from training.nano.s2mel_data import Shares
from training.nano.train_loop import average_of, parts_of
from training.nano.workspace import Workspace

SHARE = 0.5
MATCHING_WEIGHT = 4.0
LISTENER_WEIGHT = 0.1
# More of the codes are wrong than in `s2mel`: the listener asks for what was said all the same, which the latents know.
SHARES = Shares(rough=0.45, written=0.3, blind=0.1, cut=0.9)


class MelJudge(nn.Module):
    """Convolutions over time and bands; bands are halved by every layer but the last."""

    mean_mel: Tensor

    def __init__(self, mean_mel: Tensor, channels: tuple[int, ...] = (24, 48, 64, 64)) -> None:
        super().__init__()
        self.register_buffer("mean_mel", mean_mel, persistent=False)
        sizes = (1, *channels)
        strides = ((1, 2), (2, 2), (1, 2), (1, 1))
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, 5, stride, 2))
            for before, after, stride in zip(sizes, channels, strides, strict=False)
        )
        self.out = weight_norm(nn.Conv2d(channels[-1], 1, 3, padding=1))

    def forward(self, mel: Tensor) -> list[list[Tensor]]:
        """(B, T, 80) to the maps of all layers, scores last, of its one member."""
        return [maps_of(self.layers, self.out, ((mel - self.mean_mel) / SPREAD)[:, None])]


class Sharpening(S2MelTraining):
    """Begins with the averaged weights of `s2mel`."""

    def __init__(self, workspace: Workspace, device: str, batch: int = BATCH) -> None:
        super().__init__(workspace, device, batch, SHARES)
        self.fresh = False
        begun = parts_of(workspace.run("s2mel"))
        self.average.adopt(begun["average"]["state"])
        if "head" in begun:
            self.head.load_state_dict(begun["head"])
        self.judge = MelJudge(self.mean_mel.to(device)).to(device)
        self.listener = Listener().to(device).eval().requires_grad_(False)
        self.listener.load_state_dict(average_of(workspace.run("listener")))
        self.judge_descent = Descent(self.judge.parameters(), Schedule(1e-3), betas=(0.8, 0.99))

    @property
    def parts(self) -> dict[str, Any]:
        return {**super().parts, "judge": self.judge, "judge_descent": self.judge_descent}

    def _further_loss(
        self, flow: Flow, shown: Shown, progress: float
    ) -> tuple[Tensor | float, dict[str, float]]:
        """The judge's gradient at the velocity is `SHARE` as long as that of the flow's error.

        Rows without conditions are left out: nobody listens to them, and guidance wants their middle.
        """
        rows = shown.condition > 0
        if not rows.any():
            return 0.0, {}
        mel, recorded = flow.mel, flow.target[rows]
        made = mel.detach().requires_grad_()
        found = contest(self.judge, self.judge_descent, recorded, made[rows], progress)
        (gradient,) = torch.autograd.grad(found.adversarial + MATCHING_WEIGHT * found.matching, made)
        at_velocity = gradient * (1 - flow.t)[:, None, None]
        length_of_flow = flow.velocity.numel() ** -0.5  # an L1 mean's gradient: ±1/N everywhere
        weight = SHARE * length_of_flow / at_velocity.norm().clamp(min=1e-12)
        judged = (flow.velocity * (weight * at_velocity)).sum()
        misheard = self._misheard(mel[rows], recorded)
        return judged + LISTENER_WEIGHT * misheard, {**found.figures(), "misheard": misheard.item()}

    def _misheard(self, made: Tensor, recorded: Tensor) -> Tensor:
        """Cross-entropy of the phones heard in `made` against those heard in `recorded`; both (B, T, 80)."""
        with torch.autocast(self.device, torch.bfloat16):
            with torch.no_grad():
                wanted = self.listener(recorded).softmax(-1)
            heard = self.listener(made).log_softmax(-1)
        return -(wanted * heard).sum(-1).mean()


def main() -> None:
    parser = trainer_parser(__doc__, minutes=30)
    parser.add_argument("--batch", type=int, default=BATCH, help="rows per step; 64 suits a GPU")
    arguments = parser.parse_args()
    training = Sharpening(Workspace(arguments.root), arguments.device, arguments.batch)
    train_as_asked(training, "sharpen", arguments)


if __name__ == "__main__":
    main()
