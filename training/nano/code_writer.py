"""Step 6b: which code belongs to what is said. `python -m training.nano.code_writer`, then `training.nano.written`.

The encoder names one phone in seven wrong, and a GPT that learns from its codes learns to mumble. What was really said
is known (`tracks.py`). A small network is asked for the encoder's code, given what was said: where the encoder errs it
cannot follow, so its answer is the code that the encoder gives most often to this phone in this place, at this pitch.
It also writes codes for scores, which have no recording.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.nano.arguments import train_as_asked, trainer_parser
from training.nano.batches import IGNORED
from training.nano.codes import phone_of_codes
from training.nano.config import CODEBOOK_SIZE, PHONE_CLASSES
from training.nano.optimise import Average, Descent, Schedule
from training.nano.tracks import SYMBOLS
from training.nano.train_loop import NetworkTraining
from training.nano.workspace import Workspace
from training.nano.writer_data import WriterBatch, WriterData

SEED = 65
WIDTH = 256
KERNELS = (7, 7, 7, 7, 7)
STYLE = 256
DROPOUT = 0.3
SMOOTHING = 0.1


class Block(nn.Module):
    """ConvNeXt: depth-wise convolution over time, then two layers at every place."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(WIDTH, WIDTH, kernel, padding=kernel // 2, groups=WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.inner = nn.Linear(WIDTH, 3 * WIDTH)
        self.outer = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T, 1) to (B, T, D)."""
        mixed = self.conv((x * mask).transpose(1, 2)).transpose(1, 2)
        found: Tensor = x + self.outer(
            F.dropout(F.gelu(self.inner(self.norm(mixed))), DROPOUT, self.training)
        )
        return found


class CodeWriter(nn.Module):
    """Symbols, phones, shapes and the teacher's style of the speaker to scores of all codes."""

    def __init__(self) -> None:
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, WIDTH)
        self.phone = nn.Embedding(PHONE_CLASSES, WIDTH)
        self.shape = nn.Linear(5, WIDTH)
        self.style = nn.Linear(STYLE, WIDTH)
        self.blocks = nn.ModuleList(Block(kernel) for kernel in KERNELS)
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, CODEBOOK_SIZE)

    def forward(self, batch: WriterBatch) -> Tensor:
        """(B, T, codes)."""
        x = self.symbol(batch.symbol) + self.phone(batch.phone) + self.shape(batch.shape)
        x = x + self.style(batch.style)[:, None]
        mask = batch.mask[..., None].to(x.dtype)
        for block in self.blocks:
            x = block(x, mask)
        found: Tensor = self.out(self.norm(x))
        return found


class WriterTraining(NetworkTraining):
    network: CodeWriter

    def __init__(self, workspace: Workspace, device: str) -> None:
        super().__init__(SEED)
        torch.manual_seed(SEED)
        self.device = device
        self.data = WriterData(workspace, "train", self.generator, device)
        self.held_out = WriterData(workspace, "held_out", self.generator, device).everything()
        self.names = torch.from_numpy(phone_of_codes(workspace)).to(device)
        self.network = CodeWriter().to(device)
        self.average = Average(self.network, 0.995)
        self.descent = Descent(self.network.parameters(), Schedule(2e-3, warmup_steps=100))

    def step(self, progress: float) -> dict[str, float]:
        batch = self.data.draw()
        with torch.autocast(self.device, torch.bfloat16):
            scores = self.network(batch)
        loss = F.cross_entropy(
            scores.float().flatten(0, 1),
            batch.codes.flatten(),
            ignore_index=IGNORED,
            label_smoothing=SMOOTHING,
        )
        self.descent.step(loss, progress)
        self.average.update()
        return {"loss": loss.item()}

    @torch.inference_mode()
    def evaluate(self) -> dict[str, float]:
        """`same`: share of the codes that are the encoder's; `right`: of those that name the phone that is said."""
        network = CodeWriter().to(self.device).eval()
        network.load_state_dict(self.average.state)
        loss = same = right = heard = frames = 0.0
        for batch in self.held_out:
            scores, codes = network(batch)[batch.mask], batch.codes[batch.mask]
            phones, written = batch.phone[batch.mask], scores.argmax(-1)
            loss += float(F.cross_entropy(scores, codes, reduction="sum"))
            same += float((written == codes).sum())
            right += float((self.names[written] == phones).sum())
            heard += float((self.names[codes] == phones).sum())
            frames += len(codes)
        return {
            "loss": loss / frames,
            "same": same / frames,
            "right": right / frames,
            "encoder_right": heard / frames,
        }


def main() -> None:
    arguments = trainer_parser(__doc__, minutes=5).parse_args()
    train_as_asked(WriterTraining(Workspace(arguments.root), arguments.device), "code_writer", arguments)


if __name__ == "__main__":
    main()
