"""Step 7: length regulator and DiT by flow matching. `python -m training.nano.s2mel`.

Trained are the served networks of `deployments.indextts2.s2mel`. A throw-away head reads the mel directly from the
regulator's output: alone at first, then as an auxiliary loss, because the content path is otherwise learnt
late (recipe.md 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from deployments.indextts2.s2mel.estimator import Estimator
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.layout import make_layout
from deployments.indextts2.s2mel.networks import S2MelNetworks
from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.codes import load_frozen
from training.nano.config import MEL_BANDS
from training.nano.optimise import Average, Descent, Schedule
from training.nano.s2mel_data import MelBatch, MelData, Piece, Shares, frames_of, recordings
from training.nano.s2mel_start import DirectHead, new_networks
from training.nano.train_loop import Training
from training.nano.workspace import Workspace

SEED = 61
WARM_UP = 0.12  # share of the work for the regulator alone
AUXILIARY_WEIGHT = 0.5
DROP_ALL = 0.12
DROP_PROMPT = 0.10
# Share of the rows at t = 0, where everything has to come from the codes. Without them the content is learnt late, and
# after hours of one core one Euler step was still clearer than ten.
FROM_NOISE = 0.4
# Some batches lack the GPT's latents, so that codes alone can still be heard. Where most targets are whole sentences,
# the network without conditions knows that their ends are silent, and guidance makes the ends of chunks loud instead.
SHARES = Shares(rough=0.25, written=0.4, blind=0.15, cut=0.9)
# Share of the batches whose target goes on from its own first frames, as chunks of a stream do. There they are the
# network's own work, so here they are blurred by up to so much noise.
CONTINUED = 0.4
BLUR = 0.3
BATCH = 8


@dataclass(frozen=True)
class Shown:
    """Factors (B,), 1 or 0: all conditions of a row, and its prompt mel."""

    condition: Tensor
    prompt: Tensor


@dataclass(frozen=True)
class Flow:
    """On the way from noise to the mel of a target: the place x (B, T, 80) at time t (B,), and the velocity there."""

    x: Tensor
    t: Tensor
    velocity: Tensor
    wanted: Tensor

    @property
    def error(self) -> Tensor:
        return F.l1_loss(self.velocity, self.wanted)

    @property
    def mel(self) -> Tensor:
        """Where the velocity leads to."""
        return self.x + (1 - self.t)[:, None, None] * self.velocity

    @property
    def target(self) -> Tensor:
        return self.x + (1 - self.t)[:, None, None] * self.wanted


class S2MelTraining(Training):
    def __init__(
        self, workspace: Workspace, device: str, batch: int = BATCH, shares: Shares = SHARES
    ) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        semantic = load_frozen(workspace, device)
        with torch.no_grad():
            self.embedding = semantic.project(semantic.codec.book.codebook.weight[None])[0]
        self.data = MelData(recordings(workspace, "train"), self.generator, device, batch, shares)
        self.held_out = MelData(recordings(workspace, "held_out"), self.generator, device, batch)
        self.mean_mel = torch.from_numpy(self.data.rows[0].mel.astype("float32").mean(0))
        self.networks = new_networks(self.mean_mel).to(device)
        self.head = DirectHead(self.mean_mel).to(device)
        self.average = Average(self.networks, 0.998)
        self.descent = Descent(
            [*self.networks.parameters(), *self.head.parameters()], Schedule(1e-3, floor=0.03)
        )
        self._checks = [self.held_out.draw() for _ in range(6)]

    @property
    def parts(self) -> dict[str, Any]:
        return {
            "networks": self.networks,
            "head": self.head,
            "average": self.average,
            "descent": self.descent,
        }

    def step(self, progress: float) -> dict[str, float]:
        batch = self.data.draw()
        target_mu = self._regulate(self.networks, batch.target)
        direct = F.l1_loss(self.head(target_mu, batch.style), batch.target.mel)
        if self.fresh and progress < WARM_UP:
            self.descent.step(direct, progress)
            self.average.update()
            return {"direct": direct.item()}
        mu = torch.cat([self._regulate(self.networks, batch.prompt), target_mu], dim=1)
        shown = self._shown(len(batch.style))
        flow = self._flow(
            self.networks.estimator, batch, mu, self._times(len(mu)), shown, self._committed(batch)
        )
        error = flow.error
        further, seen = self._further_loss(flow, shown, progress)
        self.descent.step(error + AUXILIARY_WEIGHT * direct + further, progress)
        self.average.update()
        return {"velocity": error.item(), "direct": direct.item(), **seen}

    def _further_loss(
        self, flow: Flow, shown: Shown, progress: float
    ) -> tuple[Tensor | float, dict[str, float]]:
        """What a trainer built on this one adds, with its figures for the log."""
        return 0.0, {}

    def _shown(self, rows: int) -> Shown:
        draw = torch.rand(rows, device=self.device)
        return Shown((draw >= DROP_ALL).float(), (draw >= DROP_ALL + DROP_PROMPT).float())

    def _times(self, rows: int) -> Tensor:
        t = torch.rand(rows, device=self.device) ** 1.5
        return torch.where(torch.rand(rows, device=self.device) < FROM_NOISE, 0.0, t)

    def _committed(self, batch: MelBatch) -> Tensor:
        """(B, F0, 80): first frames of the target that are given; mostly none."""
        mel = batch.target.mel
        if self.generator.random() >= CONTINUED:
            return mel[:, :0]
        given = mel[:, : int(self.generator.integers(mel.shape[1] // 8, mel.shape[1] * 3 // 4))]
        return given + torch.randn_like(given) * float(self.generator.uniform(0, BLUR))

    def _regulate(self, networks: S2MelNetworks, piece: Piece) -> Tensor:
        frames = piece.mel.shape[1]
        rows = code_features(networks, self.embedding, piece.codes, piece.latents)
        return torch.stack(networks.length_regulator(list(rows), [frames] * len(rows)))

    def _flow(
        self,
        estimator: Estimator,
        batch: MelBatch,
        mu: Tensor,
        t: Tensor,
        shown: Shown,
        committed: Tensor,
    ) -> Flow:
        """At times t (B,), over the target frames behind `committed` (B, F0, 80)."""
        given = torch.cat([batch.prompt.mel, committed], dim=1)
        prompt, frames = given.shape[1], mu.shape[1]
        target = batch.target.mel[:, committed.shape[1] :]
        noise = torch.randn_like(target)
        time = t[:, None, None]
        x = F.pad((1 - time) * noise + time * target, (0, 0, prompt, 0))
        mel, hidden = estimator.dims.mel_channels, estimator.dims.hidden
        layout = make_layout(
            [frames] * len(t),
            [prompt] * len(t),
            halo=estimator.dims.head_halo_frames,
            padding=estimator.dims.wavenet_padding,
            device=self.device,
        )
        times = estimator.project_times(t)
        with torch.autocast(self.device, torch.bfloat16):
            weight, bias = estimator.cond_x_merge_linear.weight, estimator.cond_x_merge_linear.bias
            content = estimator.cond_projection(mu * shown.condition[:, None, None])
            prompt_mel = F.pad(given * shown.prompt[:, None, None], (0, 0, 0, frames - prompt))
            columns = torch.cat([x, prompt_mel, content.float()], dim=-1)
            merged = F.linear(columns, weight[:, : 2 * mel + hidden], bias)
            style = batch.style * shown.condition[:, None]
            merged = merged + F.linear(style, weight[:, 2 * mel + hidden :])[:, None]
            velocity = estimator(merged, x, times, layout)
        start = layout.target_starts[0]
        found = velocity[:, start : start + target.shape[1]].float()
        return Flow(x[:, prompt:], t, found, target - noise)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        networks = new_networks(self.mean_mel).to(self.device).requires_grad_(False)
        networks.load_state_dict(self.average.state)
        figures = {"direct": 0.0, "velocity": 0.0, "from_noise": 0.0, "sampled_mel_l1": 0.0}
        generator_state = torch.get_rng_state()
        torch.manual_seed(SEED)
        for batch in self._checks:
            target_mu = self._regulate(networks, batch.target)
            figures["direct"] += F.l1_loss(self.head(target_mu, batch.style), batch.target.mel).item()
            mu = torch.cat([self._regulate(networks, batch.prompt), target_mu], dim=1)
            ones = torch.ones(len(batch.style), device=self.device)
            shown, nothing = Shown(ones, ones), batch.target.mel[:, :0]
            for name, t in (("velocity", 0.5), ("from_noise", 0.0)):
                flow = self._flow(networks.estimator, batch, mu, ones * t, shown, nothing)
                figures[name] += flow.error.item()
        batch = self._checks[0]
        mels = sample(networks, self.embedding, batch, steps=10)
        figures["sampled_mel_l1"] = F.l1_loss(mels, batch.target.mel).item() * len(self._checks)
        torch.set_rng_state(generator_state)
        return {name: value / len(self._checks) for name, value in figures.items()}


def code_features(
    networks: S2MelNetworks, embedding: Tensor, codes: Tensor, latents: Tensor | None
) -> Tensor:
    """Codes (…, n) and, unless they are of a prompt, latents (…, n, D) to (…, n, C) (indextts2-back.md 3.1)."""
    found = F.embedding(codes, embedding)
    return found if latents is None else found + networks.gpt_layer(latents)


def sample(networks: S2MelNetworks, embedding: Tensor, batch: MelBatch, steps: int) -> Tensor:
    """Mels (B, T, 80) of the targets of a batch, by the server's own solver."""
    solver = FlowSolver(networks.estimator)
    pieces = [
        code_features(networks, embedding, piece.codes, piece.latents)
        for piece in (batch.prompt, batch.target)
    ]
    frames = [batch.prompt.mel.shape[1], frames_of(batch.target.codes.shape[1])]
    rows = []
    for row in range(len(batch.style)):
        mu = torch.cat(networks.length_regulator([piece[row] for piece in pieces], frames))
        noise = torch.randn(MEL_BANDS, sum(frames), device=mu.device)
        rows.append(solver.admit(noise, batch.prompt.mel[row].mT, mu, batch.style[row], steps=steps))
    return torch.stack([mel.mT for mel in solver.solve(rows)])


def main() -> None:
    parser = trainer_parser(__doc__, minutes=50)
    parser.add_argument("--batch", type=int, default=BATCH, help="rows per step; 64 suits a GPU")
    arguments = parser.parse_args()
    training = S2MelTraining(Workspace(arguments.root), arguments.device, arguments.batch)
    train_as_asked(training, "s2mel", arguments)


if __name__ == "__main__":
    main()
