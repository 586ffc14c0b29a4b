"""Step 3: the semantic encoder, frame by frame on the teacher's phones. `python -m training.nano.encoder`."""

from __future__ import annotations

import torch

from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.optimise import Average, Descent, Schedule
from training.nano.semantic import Semantic
from training.nano.semantic_data import SemanticData
from training.nano.train_loop import NetworkTraining
from training.nano.workspace import Workspace

SEED = 31
HELD_OUT_LIMIT = 80


class EncoderTraining(NetworkTraining):
    """Losses at the tap: phone, prosody (recipe.md 4; no CTC, since every frame has its label)."""

    network: Semantic

    def __init__(self, workspace: Workspace, device: str) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        self.network = Semantic().to(device)
        self.average = Average(self.network, 0.998)
        trained = [*self.network.encoder.parameters(), *self.network.tap_heads.parameters()]
        self.descent = Descent(trained, Schedule(2e-3, warmup_steps=150))
        self.data = SemanticData(workspace.features("train"), self.generator, device)
        self.held_out = SemanticData(workspace.features("held_out"), self.generator, device).everything(
            HELD_OUT_LIMIT
        )

    def step(self, progress: float) -> dict[str, float]:
        self.network.train()
        inputs, labels = self.data.draw()
        with torch.autocast(self.device, torch.bfloat16):
            tap = self.network.tap(inputs, labels.mask)
        self.network.normalised(tap, labels.mask)
        losses = self.network.tap_heads.losses(tap, labels)
        self.descent.step(losses["phone"] + losses["prosody"], progress)
        self.average.update()
        return {name: loss.item() for name, loss in losses.items()}

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        network = Semantic().to(self.device).eval()
        network.load_state_dict(self.average.state)
        sums = {"accuracy": 0.0, "prosody": 0.0}
        for inputs, labels in self.held_out:
            tap = network.tap(inputs, labels.mask)
            sums["accuracy"] += network.tap_heads.accuracy(tap, labels)
            sums["prosody"] += network.tap_heads.losses(tap, labels)["prosody"].item()
        return {name: value / len(self.held_out) for name, value in sums.items()}


def main() -> None:
    arguments = trainer_parser(__doc__, minutes=12).parse_args()
    train_as_asked(EncoderTraining(Workspace(arguments.root), arguments.device), "encoder", arguments)


if __name__ == "__main__":
    main()
