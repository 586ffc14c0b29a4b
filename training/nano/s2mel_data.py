"""Batches for s2mel: a prompt from another recording of the same speaker, and a target, cut to one length."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.traits import TWO
from training.nano.batches import LengthBatches
from training.nano.shard import Row, load_shard
from training.nano.workspace import Workspace

MAX_TARGET_FRAMES = 320
PROMPT_FRAMES = (40, 170)
LEAST_CUT = 14  # codes
# Codes of the encoder, of the encoder in an unknown voice, and of what was really said.
VARIANTS = HEARD, ROUGH, WRITTEN = "codes", "rough", "written"


@dataclass(frozen=True)
class Recording:
    text: str
    speaker: str
    mel: np.ndarray  # (T, 80) float16
    codes: dict[str, np.ndarray]  # (n,), by variant
    latents: dict[str, np.ndarray]  # (n, D) float16, of the GPT before these codes
    style: np.ndarray  # (192,)


@dataclass(frozen=True)
class Piece:
    """Equal-length cuts of B recordings: codes (B, n), mels (B, frames, 80), and latents (B, n, D) if they are used."""

    codes: Tensor
    mel: Tensor
    latents: Tensor | None = None


@dataclass(frozen=True)
class MelBatch:
    prompt: Piece
    target: Piece
    style: Tensor  # (B, 192), of the prompt's recording


def recordings(workspace: Workspace, split: str) -> list[Recording]:
    """All recordings that have codes."""
    found = []
    for path in sorted(workspace.codes(split).glob("*.npz")):
        features = load_shard(workspace.features(split) / path.name, ("mel",))
        styles = load_shard(workspace.styles(split) / path.name)
        latents = load_shard(workspace.latents(split) / path.name)
        codes = coded(workspace, split, path.name)
        for feature, style, code, latent in zip(features, styles, codes, latents, strict=True):
            found.append(
                Recording(
                    feature["text"],
                    feature["speaker"],
                    feature["mel"],
                    {variant: code[variant].astype(np.int64) for variant in VARIANTS},
                    {variant: latent[variant] for variant in VARIANTS},
                    style["style"],
                )
            )
    if not found:
        raise FileNotFoundError(f"no codes for {split}; run `python -m training.nano.codes` first")
    return found


def coded(workspace: Workspace, split: str, shard: str) -> list[Row]:
    """Rows of a shard with all variants of their codes."""
    heard = load_shard(workspace.codes(split) / shard, (HEARD, ROUGH))
    written = load_shard(workspace.written(split) / shard, ("codes",))
    return [row | {WRITTEN: other["codes"]} for row, other in zip(heard, written, strict=True)]


def frames_of(codes: int) -> int:
    """Mel frames of so many codes."""
    return mel_frames(codes, TWO.frames_per_code)


def codes_within(frames: int) -> int:
    """The most codes whose frames all lie within so many."""
    return int(frames / TWO.frames_per_code)


def usable_codes(recording: Recording) -> int:
    """Codes whose frames all lie within the mel."""
    return min(len(recording.codes[HEARD]), codes_within(len(recording.mel)))


@dataclass(frozen=True)
class Shares:
    """What of the drawn is harder than a recording: shares of the cuts, of the batches, of the batches."""

    rough: float = 0.0  # cuts with the rough codes
    written: float = 0.0  # cuts with the written codes, as the GPT says them
    blind: float = 0.0  # without the GPT's latents
    cut: float = 0.0  # whose targets end in the middle of the speech, as chunks of a stream do


class MelData:
    def __init__(
        self,
        rows: list[Recording],
        generator: np.random.Generator,
        device: str,
        batch: int = 8,
        shares: Shares = Shares(),
    ) -> None:
        self.rows = rows
        self._shares = shares
        self._generator = generator
        self._device = device
        self._of_speaker: dict[str, list[int]] = defaultdict(list)
        for index, row in enumerate(rows):
            self._of_speaker[row.speaker].append(index)
        usable = [min(usable_codes(row), codes_within(MAX_TARGET_FRAMES)) for row in rows]
        self._batches = LengthBatches([1] * len(rows), batch, generator)
        self._order = np.argsort(usable, kind="stable")

    def draw(self) -> MelBatch:
        chosen = [int(self._order[index]) for index in self._batches.draw()]
        return self.batch(chosen, [self._companion(index) for index in chosen])

    def _companion(self, index: int) -> int:
        """Another recording of the same speaker, or the same one if there is no other."""
        others = [other for other in self._of_speaker[self.rows[index].speaker] if other != index]
        return int(self._generator.choice(others)) if others else index

    def batch(self, targets: list[int], prompts: list[int]) -> MelBatch:
        wanted = codes_within(int(self._generator.integers(*PROMPT_FRAMES)))
        longest = codes_within(MAX_TARGET_FRAMES)
        if self._generator.random() < self._shares.cut:
            shortest = min(usable_codes(self.rows[index]) for index in targets)
            longest = int(self._generator.integers(min(LEAST_CUT, shortest), min(longest, shortest) + 1))
        style = np.stack([self.rows[index].style for index in prompts])
        return MelBatch(
            prompt=self._cut(prompts, wanted, blind=True, prompt=True),
            target=self._cut(targets, longest, blind=self._generator.random() < self._shares.blind),
            style=torch.from_numpy(style).to(self._device),
        )

    def _variant(self, *, prompt: bool) -> str:
        """A prompt is a recording, whose codes the encoder names."""
        drawn = self._generator.random()
        if drawn < self._shares.rough:
            return ROUGH
        return WRITTEN if not prompt and drawn < self._shares.rough + self._shares.written else HEARD

    def _cut(self, indices: list[int], most: int, *, blind: bool, prompt: bool = False) -> Piece:
        rows = [self.rows[index] for index in indices]
        count = min(most, *(usable_codes(row) for row in rows))
        frames = frames_of(count)
        codes, mels, latents = [], [], []
        for row in rows:
            first = int(self._generator.integers(usable_codes(row) - count + 1))
            start = min(frames_of(first), len(row.mel) - frames)
            variant = self._variant(prompt=prompt)
            codes.append(row.codes[variant][first : first + count])
            if not blind:
                latents.append(row.latents[variant][first : first + count])
            mels.append(row.mel[start : start + frames].astype(np.float32))
        return Piece(
            torch.from_numpy(np.stack(codes)).to(self._device),
            torch.from_numpy(np.stack(mels)).to(self._device),
            None if blind else torch.from_numpy(np.stack(latents).astype(np.float32)).to(self._device),
        )
