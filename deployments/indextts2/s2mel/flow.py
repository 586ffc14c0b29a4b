"""Flow matching, one Euler step at a time for any mixture of rows (indextts2-back.md 4.2, 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from deployments.indextts2.s2mel.dims import MAX_FRAMES
from deployments.indextts2.s2mel.estimator import Estimator, TimeProjections
from deployments.indextts2.s2mel.layout import Layout, make_layout

DEFAULT_STEPS = 25
DEFAULT_GUIDANCE = 0.7
# Frames at an open end without guidance, and frames over which it rises to its full weight.
UNGUIDED_FRAMES = 8
RISING_FRAMES = 22
MAX_TIMES = 512  # of which projections are kept: about 150 kB each at full size


@dataclass(frozen=True)
class EulerGrid:
    """Times entering each step and step sizes, float32 values."""

    times: tuple[float, ...]
    deltas: tuple[float, ...]


@lru_cache
def euler_grid(steps: int) -> EulerGrid:
    """The time is the float32 sum of the step sizes, not the grid point: they differ by up to 1e-6."""
    if steps < 1:
        raise ValueError(f"{steps} Euler steps: at least 1 is needed")
    deltas = torch.linspace(0, 1, steps + 1).diff()
    times = [torch.zeros(())]
    for delta in deltas[:-1]:
        times.append(times[-1] + delta)
    return EulerGrid(tuple(t.item() for t in times), tuple(deltas.tolist()))


@dataclass(eq=False)
class FlowRow:
    """One utterance or chunk on its way from noise to mel."""

    x: Tensor  # (T, 80) float32 state; the prompt frames stay 0
    static: Tensor  # (T, D) constant part of the merge layer
    prompt_frames: int
    guidance: float
    guided_share: Tensor | None  # (T - P, 1) factors of the guidance, None: 1 everywhere
    grid: EulerGrid
    step: int = 0

    @property
    def frames(self) -> int:
        return self.x.shape[0]

    @property
    def t(self) -> float:
        return self.grid.times[self.step]

    @property
    def done(self) -> bool:
        return self.step == len(self.grid.deltas)

    @property
    def network_rows(self) -> int:
        """Rows it takes in a network evaluation."""
        return 2 if self.guidance else 1

    def mel(self) -> Tensor:
        """Log-mel of the target (80, T - P), a copy."""
        return self.x[self.prompt_frames :].mT.clone(memory_format=torch.contiguous_format)


class TimeCache:
    """Time projections by time value. Step grids are few and fixed, so nearly every look-up hits."""

    def __init__(self, project: Callable[[Tensor], TimeProjections], device: torch.device) -> None:
        self._project = project
        self._device = device
        self._known: dict[float, TimeProjections] = {}

    def batch(self, times: Sequence[float]) -> TimeProjections:
        """Projections of one time per row; with N = 1 if all rows share one time."""
        distinct = list(dict.fromkeys(times))
        found = [self._one(t) for t in distinct]
        if len(found) == 1:
            return found[0]
        index = torch.tensor([distinct.index(t) for t in times], device=self._device)
        return TimeProjections(
            norms=torch.cat([one.norms for one in found], dim=1).index_select(1, index),
            wavenet=torch.cat([one.wavenet for one in found], dim=1).index_select(1, index),
            final=torch.cat([one.final for one in found], dim=0).index_select(0, index),
        )

    def _one(self, t: float) -> TimeProjections:
        if t not in self._known:
            if len(self._known) >= MAX_TIMES:
                del self._known[next(iter(self._known))]
            self._known[t] = self._project(torch.tensor([t], dtype=torch.float32, device=self._device))
        return self._known[t]


class FlowSolver:
    """Admits rows and advances any of them by one step. Not thread-safe: one step loop owns it."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self.device = estimator.device
        self._times = TimeCache(estimator.project_times, self.device)
        with torch.inference_mode():
            self._unconditional = estimator.merge_unconditional()
        self._layout: tuple[tuple[tuple[int, int], ...], Layout] | None = None

    @torch.inference_mode()
    def admit(
        self,
        noise: Tensor,
        prompt_mel: Tensor,
        mu: Tensor,
        style: Tensor,
        *,
        guidance: float = DEFAULT_GUIDANCE,
        open_end: bool = False,
        steps: int = DEFAULT_STEPS,
    ) -> FlowRow:
        """A new row at step 0, nothing of the arguments is kept.

        noise (80, T) incl. the prompt region, prompt_mel (80, P), mu (T, C) = conditions of prompt and target
        joined in time, style (S,) or (1, S); 0 <= P < T <= 16384. ValueError if they do not fit together.

        `open_end`: the speech goes on behind the last frame. The network without conditions takes every last frame for
        the end of an utterance, which is silent; guidance leads away from that and would make an open end loud. So it
        fades out there.
        """
        frames, prompt_frames = noise.shape[-1], prompt_mel.shape[-1]
        self._check(frames, prompt_frames, mu)
        x = noise.to(self.device, torch.float32).mT.contiguous().clone()
        x[:prompt_frames] = 0
        prompt_mel, mu, style = (
            part.to(self.device, self.estimator.dtype) for part in (prompt_mel, mu, style.reshape(-1))
        )
        static = self.estimator.merge_static(prompt_mel, mu, style)
        share = self._open_end(frames - prompt_frames) if open_end and guidance else None
        return FlowRow(x, static, prompt_frames, float(guidance), share, euler_grid(steps))

    def _open_end(self, frames: int) -> Tensor:
        """(frames, 1) shares of the guidance."""
        to_end = torch.arange(frames - 1, -1, -1, device=self.device, dtype=torch.float32)
        return ((to_end - UNGUIDED_FRAMES) / RISING_FRAMES).clamp(0, 1)[:, None]

    def _check(self, frames: int, prompt_frames: int, mu: Tensor) -> None:
        if mu.shape[0] != frames:
            raise ValueError(f"noise has {frames} frames, mu has {mu.shape[0]}")
        if not prompt_frames < frames <= MAX_FRAMES:
            raise ValueError(
                f"{frames} frames with {prompt_frames} of prompt: there must be more frames than the prompt "
                f"has, and at most {MAX_FRAMES}"
            )
        if frames <= (padding := self.estimator.dims.wavenet_padding):
            raise ValueError(
                f"a row of {frames} frames is too short to be mirrored: at least {padding + 1} are needed"
            )

    @torch.inference_mode()
    def advance(self, rows: Sequence[FlowRow]) -> None:
        """One Euler step for each row, at its own time. Rows that are done must not be among them."""
        if not rows:
            return
        guided = [i for i, row in enumerate(rows) if row.guidance]
        order = [*range(len(rows)), *guided]  # conditional rows first, then the unconditional halves
        layout = self._layout_of([rows[i] for i in order])
        x = pad_sequence([row.x for row in rows], batch_first=True).to(self.estimator.dtype)
        merged = self.estimator.merge_noise(x)
        if guided:
            everyone = len(guided) == len(rows)
            free = (merged if everyone else merged[guided]) + self._unconditional
            x = torch.cat([x, x if everyone else x[guided]])
        merged += pad_sequence([row.static for row in rows], batch_first=True)
        if guided:
            merged = torch.cat([merged, free])
        times = self._times.batch([rows[i].t for i in order])
        velocity = self.estimator(merged, x, times, layout).float()

        unconditional = {i: velocity[len(rows) + n] for n, i in enumerate(guided)}
        for i, row in enumerate(rows):
            start = layout.target_starts[i]
            target = slice(start, start + row.frames - row.prompt_frames)
            v = velocity[i, target]
            if i in unconditional:
                guidance = row.guidance if row.guided_share is None else row.guidance * row.guided_share
                v = (1 + guidance) * v - guidance * unconditional[i][target]
            row.x[row.prompt_frames :].add_(v, alpha=row.grid.deltas[row.step])
            row.step += 1

    def solve(self, rows: Sequence[FlowRow]) -> list[Tensor]:
        """All remaining steps of all rows in shared batches. -> mels (80, T - P)"""
        while active := [row for row in rows if not row.done]:
            self.advance(active)
        return [row.mel() for row in rows]

    def _layout_of(self, rows: Sequence[FlowRow]) -> Layout:
        key = tuple((row.frames, row.prompt_frames) for row in rows)
        if self._layout is None or self._layout[0] != key:
            dims = self.estimator.dims
            lengths, prompts = zip(*key, strict=True)
            layout = make_layout(
                lengths, prompts, halo=dims.head_halo_frames, padding=dims.wavenet_padding, device=self.device
            )
            self._layout = key, layout
        return self._layout[1]
