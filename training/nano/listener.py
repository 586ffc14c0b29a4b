"""Step 6c: a listener that names the phones in mels. `python -m training.nano.listener`. Training only.

s2mel is sharpened against it: what it makes shall sound to the listener as the recording does (`sharpen.py`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.batches import IGNORED, LengthBatches, padded
from training.nano.config import HOP, MEL_BANDS, PHONE_CLASSES, SAMPLE_RATE_HZ
from training.nano.features import frame_times, load_features
from training.nano.optimise import Average, Descent, Schedule
from training.nano.shard import Row
from training.nano.train_loop import NetworkTraining
from training.nano.workspace import Workspace

SEED = 47
WIDTH = 160
DILATIONS = (1, 2, 4, 1, 2)  # it hears 0.3 s on both sides: sounds, not words
DROPOUT = 0.2
BATCH_FRAMES = 3000
LONGEST = 240  # frames of a cut
SPREAD = 2.0  # of log-mels about their mean
QUIETEST = -11.5  # log-mel of digital silence
HELD_OUT_LIMIT = 80


class Block(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.conv = nn.Conv1d(WIDTH, WIDTH, 5, padding=2 * dilation, dilation=dilation)
        self.out = nn.Conv1d(WIDTH, WIDTH, 1)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        inner = F.gelu(self.conv(self.norm(x.mT).mT))
        found: Tensor = x + self.dropout(self.out(inner))
        return found


class Listener(nn.Module):
    """Mels (B, T, 80) to the logits (B, T, phones) of the phone that sounds in every frame."""

    mean_mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean_mel", torch.zeros(MEL_BANDS))
        self.first = nn.Conv1d(MEL_BANDS, WIDTH, 5, padding=2)
        self.blocks = nn.Sequential(*(Block(dilation) for dilation in DILATIONS))
        self.out = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, PHONE_CLASSES))

    def forward(self, mel: Tensor) -> Tensor:
        x = self.first(((mel - self.mean_mel) / SPREAD).mT)
        found: Tensor = self.out(self.blocks(x).mT)
        return found.float()


def phones_of_frames(phone: np.ndarray, frames: int) -> np.ndarray:
    """Phone that sounds in the middle of every mel frame, from those of the encoder's frames (`features.py`)."""
    times = (np.arange(frames) + 0.5) * HOP / SAMPLE_RATE_HZ
    return phone[np.searchsorted(frame_times(len(phone))[1:] - 0.01, times)].astype(np.int64)


class ListenerData:
    """Mels and phones of all recordings of a features folder."""

    def __init__(self, folder: Path, generator: np.random.Generator, device: str) -> None:
        self.rows = load_features(folder, ("mel", "phone"))
        self._batches = LengthBatches([len(row["mel"]) for row in self.rows], BATCH_FRAMES, generator)
        self._generator = generator
        self._device = device

    def draw(self) -> tuple[Tensor, Tensor]:
        """Cuts of mels (B, T, 80) with another loudness, blur and noise, and their phones (B, T)."""
        mels, phones = self._together([self.rows[index] for index in self._batches.draw()])
        rows, rng = len(mels), self._generator
        first = int(rng.integers(max(1, mels.shape[1] - LONGEST + 1)))
        mels, phones = mels[:, first : first + LONGEST], phones[:, first : first + LONGEST]
        blur = torch.from_numpy(rng.uniform(0, 0.5, (rows, 1, 1)).astype(np.float32)).to(self._device)
        smooth = F.avg_pool1d(mels.mT, 3, 1, 1, count_include_pad=False).mT
        mels = mels.lerp(smooth, blur) + float(rng.uniform(-0.7, 0.7))
        return mels + torch.randn_like(mels) * float(rng.uniform(0, 0.5)), phones

    def everything(self, limit: int) -> list[tuple[Tensor, Tensor]]:
        """The first `limit` recordings in batches of one, as they are."""
        return [self._together([row]) for row in self.rows[:limit]]

    def _together(self, rows: list[Row]) -> tuple[Tensor, Tensor]:
        phones = [phones_of_frames(row["phone"], len(row["mel"])) for row in rows]
        return (
            padded([row["mel"] for row in rows], QUIETEST, self._device),
            padded(phones, IGNORED, self._device).long(),
        )


class ListenerTraining(NetworkTraining):
    network: Listener

    def __init__(self, workspace: Workspace, device: str) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        self.data = ListenerData(workspace.features("train"), self.generator, device)
        self.held_out = ListenerData(workspace.features("held_out"), self.generator, device).everything(
            HELD_OUT_LIMIT
        )
        self.network = Listener().to(device)
        self.network.mean_mel.copy_(torch.from_numpy(self.data.rows[0]["mel"].astype(np.float32).mean(0)))
        self.average = Average(self.network, 0.995)
        self.descent = Descent(self.network.parameters(), Schedule(2e-3, warmup_steps=100))

    def step(self, progress: float) -> dict[str, float]:
        self.network.train()
        mels, phones = self.data.draw()
        with torch.autocast(self.device, torch.bfloat16):
            logits = self.network(mels)
        loss = F.cross_entropy(logits.mT, phones, ignore_index=IGNORED, label_smoothing=0.05)
        self.descent.step(loss, progress)
        self.average.update()
        return {"loss": loss.item()}

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """`right`: share of the frames whose phone is named."""
        network = Listener().to(self.device).eval()
        network.load_state_dict(self.average.state)
        loss = right = frames = 0.0
        for mels, phones in self.held_out:
            logits = network(mels)
            loss += float(F.cross_entropy(logits.mT, phones, reduction="sum"))
            right += float((logits.argmax(-1) == phones).sum())
            frames += phones.numel()
        return {"loss": loss / frames, "right": right / frames}


def main() -> None:
    arguments = trainer_parser(__doc__, minutes=8).parse_args()
    train_as_asked(ListenerTraining(Workspace(arguments.root), arguments.device), "listener", arguments)


if __name__ == "__main__":
    main()
