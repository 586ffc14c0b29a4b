"""Step 5: a vocoder. `python -m training.nano.vocoder [--kind bigvgan]`.

Spectral loss alone at first, then with least-squares discriminators and feature matching (recipe.md 7). Where
`training.nano.generated` has left mels of s2mel, half of what is learnt from are those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from deployments.networks.istft import IstftDims, IstftVocoder
from training.nano.acoustics import log_mel
from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.bigvgan import TrainableBigVgan
from training.nano.config import VOCODER
from training.nano.discriminators import Discriminators, contest
from training.nano.optimise import Average, Descent, Schedule
from training.nano.spectral_loss import spectral_loss
from training.nano.train_loop import Training
from training.nano.vocoder_data import WaveData
from training.nano.workspace import Workspace

SEED = 51
FRAMES = 32
SPECTRAL_WEIGHT = 15.0
MATCHING_WEIGHT = 2.0
HELD_OUT_LIMIT = 20


@dataclass(frozen=True)
class Kind:
    """One of the two vocoders: its network, rows per step, rate, and the share of work before the judges."""

    network: Callable[[], nn.Module]
    rows: int
    rate: float
    judges_from: float
    run: str


KINDS = {
    "istft": Kind(lambda: IstftVocoder(IstftDims.from_config(VOCODER)), 12, 1e-3, 0.3, "vocoder"),
    "bigvgan": Kind(TrainableBigVgan, 8, 5e-4, 0.4, "bigvgan"),
}


class VocoderTraining(Training):
    def __init__(self, workspace: Workspace, device: str, kind: Kind = KINDS["istft"]) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        self.kind = kind
        self.network = kind.network().to(device)
        self.judges = Discriminators().to(device)
        self.average = Average(self.network, 0.999)
        betas = (0.8, 0.99)
        self.descent = Descent(self.network.parameters(), Schedule(kind.rate), betas=betas, clip=10.0)
        self.judges_descent = Descent(self.judges.parameters(), Schedule(4e-4), betas=betas, clip=10.0)
        self.data = WaveData(workspace.audio("train"), self.generator, device, workspace.generated("train"))
        self.held_out = WaveData(workspace.audio("held_out"), self.generator, device)

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "judges": self.judges,
            "average": self.average,
            "descent": self.descent,
            "judges_descent": self.judges_descent,
        }

    def step(self, progress: float) -> dict[str, float]:
        mel, wave = self.data.draw(self.kind.rows, FRAMES)
        fake = self.network(mel)
        spectral = spectral_loss(fake, wave)
        if self.fresh and progress < self.kind.judges_from:
            self.descent.step(spectral, progress)
            self.average.update()
            return {"spectral": spectral.item()}
        found = contest(self.judges, self.judges_descent, wave, fake, progress)
        total = SPECTRAL_WEIGHT * spectral + found.adversarial + MATCHING_WEIGHT * found.matching
        self.descent.step(total, progress)
        self.average.update()
        return {"spectral": spectral.item(), **found.figures()}

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        network = self.kind.network().to(self.device)
        network.load_state_dict(self.average.state)
        sums = {"mel_l1": 0.0, "spectral": 0.0}
        for index in range(min(HELD_OUT_LIMIT, len(self.held_out.waves))):
            mel, wave = self.held_out.whole(index)
            fake = network(mel)
            sums["mel_l1"] += F.l1_loss(log_mel(fake), mel).item()
            sums["spectral"] += spectral_loss(fake, wave).item()
        return {name: value / HELD_OUT_LIMIT for name, value in sums.items()}


def main() -> None:
    parser = trainer_parser(__doc__, minutes=18)
    parser.add_argument("--kind", choices=list(KINDS), default="istft")
    arguments = parser.parse_args()
    kind = KINDS[arguments.kind]
    training = VocoderTraining(Workspace(arguments.root), arguments.device, kind)
    train_as_asked(training, kind.run, arguments)


if __name__ == "__main__":
    main()
