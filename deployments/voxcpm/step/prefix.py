"""What stands before the first patch of a job, and how it is cut into pieces (voxcpm.md 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.voxcpm.step.job import Patches, VoxCPMJob

PIECE = 128  # positions that are computed as one span
AUDIO_START = 101
REFERENCE_START, REFERENCE_END = 103, 104
NO_TEXT = 0  # stands at audio positions


@dataclass(frozen=True, slots=True, eq=False)
class PrefixPiece:
    """Positions of one slot behind what it holds."""

    slot: int
    ids: npt.NDArray[np.int64]  # (t,), NO_TEXT at audio positions
    is_audio: npt.NDArray[np.bool_]  # (t,)
    patches: Patches  # of the audio positions


class Prefix:
    """The pieces of a job, cut at places that depend on nothing but the job: where a sequence is cut decides the last
    bits of what comes out."""

    def __init__(self, job: VoxCPMJob, slot: int, patch_shape: tuple[int, int]) -> None:
        """`patch_shape`: (P, D)."""
        nothing = np.zeros((0, *patch_shape), np.float32)
        prompt = nothing if job.prompt is None else job.prompt
        marks = [NO_TEXT] * len(prompt)
        ids, is_audio = [*job.text_ids, AUDIO_START], [False] * (len(job.text_ids) + 1)
        reference = nothing
        if job.reference is not None:
            reference = job.reference
            ids = [REFERENCE_START, *[NO_TEXT] * len(reference), REFERENCE_END, *ids]
            is_audio = [False, *[True] * len(reference), False, *is_audio]
        self.ids = np.array(ids + marks, np.int64)
        self.is_audio = np.array(is_audio + [True] * len(prompt))
        self._patches = np.concatenate([reference, prompt])
        self._slot = slot
        self._done = 0

    @property
    def begun(self) -> bool:
        return self._done > 0

    @property
    def done(self) -> bool:
        return self._done == len(self.ids)

    @property
    def next_positions(self) -> int:
        """Of the next piece."""
        return min(PIECE, len(self.ids) - self._done)

    def next_piece(self) -> PrefixPiece:
        place = slice(self._done, self._done + self.next_positions)
        first = int(self.is_audio[: place.start].sum())
        is_audio = self.is_audio[place]
        self._done = place.stop
        patches = self._patches[first : first + int(is_audio.sum())]
        return PrefixPiece(self._slot, self.ids[place], is_audio, patches)


class PrefixBudget:
    """Positions of prefixes that one step takes at most, and one piece at least, so that rows that speak already are
    not held up by those that join."""

    def __init__(self, positions: int) -> None:
        self._left = positions
        self.pieces: list[PrefixPiece] = []

    def take(self, prefix: Prefix) -> None:
        """As many pieces of a prefix as there is room for."""
        while not prefix.done and (prefix.next_positions <= self._left or not self.pieces):
            self._left -= prefix.next_positions
            self.pieces.append(prefix.next_piece())
