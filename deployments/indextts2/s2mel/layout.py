"""Where the frames of a ragged batch lie: every row is [prompt | target | padding], starting at frame 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Window:
    """The part of each row that the head computes: target frames and the prompt frames they depend on."""

    index: slice | tuple[Tensor, Tensor]

    def take(self, x: Tensor) -> Tensor:
        """(B, T, ...) -> (B, T_window, ...)"""
        return x[:, self.index] if isinstance(self.index, slice) else x[self.index]


@dataclass(frozen=True)
class RowEnds:
    """Columns right of the end of short rows, and the columns they mirror."""

    rows: Tensor
    columns: Tensor
    sources: Tensor


@dataclass(frozen=True)
class Layout:
    """Masks and index maps of one batch.

    key_mask (B, 1, 1, T) bool, None if all rows are full; window: frames of the head; ends: right ends of
    rows that are shorter than the window, None if there are none; target_starts: first target frame of each
    row in the window; padding: that of the convolutions of the head, per side.
    """

    key_mask: Tensor | None
    window: Window
    ends: RowEnds | None
    target_starts: tuple[int, ...]
    padding: int

    def reflect_pad(self, u: Tensor) -> Tensor:
        """(B, D, T_window) -> (B, D, T_window + 2 padding), each row mirrored at its own end.

        Without this the right ends of short rows would depend on padding (indextts2-back.md 4.3). What lies
        further right never reaches a valid frame. Left of the window the mirror is wrong where the prompt
        goes on, but that reaches only frames before the target.
        """
        padded = F.pad(u, (self.padding, self.padding), mode="reflect")
        if self.ends is not None:
            padded[self.ends.rows, :, self.ends.columns] = u[self.ends.rows, :, self.ends.sources]
        return padded


def make_layout(
    lengths: Sequence[int],
    prompts: Sequence[int],
    *,
    halo: int,
    padding: int,
    device: torch.device | str = "cpu",
) -> Layout:
    """Layout of rows with `lengths` frames of which the first `prompts` are not wanted as output.

    The head starts `halo` frames before the target; `padding` is that of its convolutions.
    """
    total = max(lengths)
    starts = [max(0, prompt - halo) for prompt in prompts]
    widths = [length - start for length, start in zip(lengths, starts, strict=True)]
    width = max(widths)
    if len(set(starts)) == 1:
        window = Window(slice(starts[0], starts[0] + width))
    else:
        columns = torch.tensor(starts)[:, None] + torch.arange(width)
        index = columns.clamp_(max=total - 1).to(device)
        window = Window((torch.arange(len(starts), device=device)[:, None], index))
    return Layout(
        key_mask=_key_mask(lengths, device) if min(lengths) < total else None,
        window=window,
        ends=_row_ends(widths, padding, device) if min(widths) < width else None,
        target_starts=tuple(prompt - start for prompt, start in zip(prompts, starts, strict=True)),
        padding=padding,
    )


def _key_mask(lengths: Sequence[int], device: torch.device | str) -> Tensor:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return mask[:, None, None].to(device)


def _row_ends(widths: Sequence[int], padding: int, device: torch.device | str) -> RowEnds:
    short = torch.tensor([row for row, width in enumerate(widths) if width < max(widths)])[:, None]
    ends = torch.tensor(widths)[short]
    offset = torch.arange(padding)
    # Columns count from the left edge of the padded tensor, sources from that of the unpadded one.
    return RowEnds(short.to(device), (ends + padding + offset).to(device), (ends - 2 - offset).to(device))
