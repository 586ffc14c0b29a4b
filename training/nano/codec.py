"""Step 4: the supervised bottleneck. `python -m training.nano.codec`.

The codec (official RepCodec structure) is trained together with the encoder under it. Linear heads sit right on
the code embedding S, so that a code alone names its phone, its relative pitch and loudness and the shape of its
spectrum, whatever stands beside it. Order: a share without quantisation, then the codebook starts as random
points of the data, and entries nobody uses are replaced until 70 % of the work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.config import CODEBOOK_SIZE, PHONE_CLASSES
from training.nano.optimise import Average, Descent, Schedule
from training.nano.semantic import Labels, Semantic
from training.nano.semantic_data import SemanticData
from training.nano.train_loop import Training
from training.nano.workspace import Workspace

SEED = 41
HELD_OUT_LIMIT = 80
QUANTISE_FROM = 0.06
REPLACE_UNTIL = 0.7
REPLACE_EVERY = 20
DEAD_SHARE = 0.05  # of the average use of an entry
WEIGHTS = {"phone": 1.5, "prosody": 1.0, "spectrum": 0.7}


class Usage:
    """How often each code was chosen lately, and which entries were replaced."""

    def __init__(self, device: str) -> None:
        self.counts = torch.ones(CODEBOOK_SIZE, device=device)
        self.started = False

    def state_dict(self) -> dict[str, Any]:
        return {"counts": self.counts, "started": self.started}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.counts.copy_(state["counts"])
        self.started = state["started"]

    def note(self, codes: Tensor) -> None:
        self.counts.mul_(0.98).add_(torch.bincount(codes, minlength=CODEBOOK_SIZE), alpha=0.02)

    def dead(self) -> Tensor:
        return (self.counts < DEAD_SHARE * self.counts.mean()).nonzero()[:, 0]


class CodecTraining(Training):
    """Encoder and codec end to end; starts from the averaged weights of the encoder step."""

    def __init__(self, workspace: Workspace, device: str) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        self.network = Semantic().to(device)
        stored = torch.load(
            workspace.run("encoder") / "checkpoint.pt", map_location=device, weights_only=True
        )
        self.network.load_state_dict(stored["parts"]["average"]["state"])
        self.average = Average(self.network, 0.998)
        self.usage = Usage(device)
        low = list(self.network.encoder.parameters())
        known = {id(parameter) for parameter in low}
        high = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        self.encoder_descent = Descent(low, Schedule(7e-4, warmup_steps=300))
        self.codec_descent = Descent(high, Schedule(2e-3, warmup_steps=100), weight_decay=0.0)
        self.data = SemanticData(workspace.features("train"), self.generator, device)
        self.held_out = SemanticData(workspace.features("held_out"), self.generator, device).everything(
            HELD_OUT_LIMIT
        )

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "network": self.network,
            "average": self.average,
            "usage": self.usage,
            "encoder_descent": self.encoder_descent,
            "codec_descent": self.codec_descent,
        }

    def step(self, progress: float) -> dict[str, float]:
        self.network.train()
        inputs, labels = self.data.draw()
        with torch.autocast(self.device, torch.bfloat16):
            tap = self.network.tap(inputs, labels.mask)
            features = self.network.normalised(tap, labels.mask)
            points = self.network.points(features)
        book = self.network.codec.book.codebook.weight
        figures: dict[str, Tensor] = {}
        quantised = points
        if progress >= QUANTISE_FROM:
            quantised, figures["commit"] = self._quantise(points, labels, book, progress)
        embedding = self.network.project(quantised)
        losses = self.network.code_heads.losses(embedding, labels)
        total = sum(
            (WEIGHTS[name] * loss for name, loss in losses.items()), start=torch.zeros((), device=self.device)
        )
        total = total + self.network.tap_heads.losses(tap, labels)["phone"] * 0.3
        restored = self.network.decoder(embedding.detach())[labels.mask]
        total = total + 0.1 * F.mse_loss(restored, features.detach().float()[labels.mask])
        if "commit" in figures:
            total = total + figures["commit"]
        self._descend(total, progress)
        return {name: value.item() for name, value in {**losses, **figures}.items()}

    def _descend(self, total: Tensor, progress: float) -> None:
        # One backward pass serves both optimisers: the first step already holds the gradients of the second.
        self.codec_descent.clear()
        self.encoder_descent.step(total, progress)
        self.codec_descent.apply(progress)
        with torch.no_grad():
            weight = self.network.codec.book.codebook.weight
            weight.copy_(F.normalize(weight, dim=-1))
        self.average.update()

    def _quantise(
        self, points: Tensor, labels: Labels, book: Tensor, progress: float
    ) -> tuple[Tensor, Tensor]:
        """Straight-through rows (B, T, 8) and the codebook + commitment loss."""
        valid = points.detach()[labels.mask]
        if not self.usage.started:
            self._restart(torch.arange(CODEBOOK_SIZE, device=self.device), valid)
            self.usage.started = True
        elif self.codec_descent.steps % REPLACE_EVERY == 0 and progress < REPLACE_UNTIL:
            self._restart(self.usage.dead(), valid)
        codes = self.network.nearest(points.detach())
        self.usage.note(codes[labels.mask])
        rows = F.normalize(F.embedding(codes, book), dim=-1)
        error = (points.detach() - rows)[labels.mask].square().sum(-1).mean()
        commitment = (points - rows.detach())[labels.mask].square().sum(-1).mean()
        return rows + points - points.detach(), error + 0.25 * commitment

    @torch.no_grad()
    def _restart(self, entries: Tensor, points: Tensor) -> None:
        chosen = torch.randint(len(points), (len(entries),), device=points.device)
        jitter = torch.randn(len(entries), points.shape[1], device=points.device) * 0.02
        self.network.codec.book.codebook.weight[entries] = F.normalize(points[chosen] + jitter, dim=-1)
        self.usage.counts[entries] = self.usage.counts.mean()

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        network = Semantic().to(self.device).eval()
        network.load_state_dict(self.average.state)
        return code_figures(network, self.held_out)


def code_figures(network: Semantic, batches: list[tuple[Tensor, Labels]]) -> dict[str, float]:
    """What single codes say about held-out speech: phone accuracy (all frames, speech only), purity, bits."""
    table = torch.zeros(CODEBOOK_SIZE, PHONE_CLASSES)
    right = speech_right = speech = frames = 0.0
    sums = {"prosody": 0.0, "spectrum": 0.0, "tap_accuracy": 0.0}
    for inputs, labels in batches:
        tap = network.tap(inputs, labels.mask)
        codes = network.nearest(network.points(network.normalised(tap, labels.mask)))
        embedding = network.project(network.codec.book.codebook(codes))
        found, said = network.code_heads.phone(embedding).argmax(-1)[labels.mask], labels.phone[labels.mask]
        right += float((found == said).sum())
        frames += len(said)
        speech_right += float(((found == said) & (said > 0)).sum())
        speech += float((said > 0).sum())
        table.index_put_((codes[labels.mask].cpu(), said.cpu()), torch.ones(len(said)), accumulate=True)
        losses = network.code_heads.losses(embedding, labels)
        sums["prosody"] += losses["prosody"].item() / len(batches)
        sums["spectrum"] += losses["spectrum"].item() / len(batches)
        sums["tap_accuracy"] += network.tap_heads.accuracy(tap, labels) / len(batches)
    share = table.sum(1) / frames
    bits = -float((share * share.clamp(min=1e-9).log2()).sum())
    return {
        "accuracy": right / frames,
        "speech_accuracy": speech_right / speech,
        "purity": float(table.max(1).values.sum()) / frames,
        "bits": bits,
        **sums,
    }


def main() -> None:
    arguments = trainer_parser(__doc__, minutes=15).parse_args()
    train_as_asked(CodecTraining(Workspace(arguments.root), arguments.device), "codec", arguments)


if __name__ == "__main__":
    main()
