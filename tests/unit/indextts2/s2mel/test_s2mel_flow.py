"""The step-wise solver: rows know nothing of each other, of padding or of the trimmed head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deployments.indextts2.s2mel.estimator import TimeProjections
from deployments.indextts2.s2mel.flow import (
    MAX_TIMES,
    RISING_FRAMES,
    UNGUIDED_FRAMES,
    FlowRow,
    FlowSolver,
    TimeCache,
    euler_grid,
)
from deployments.indextts2.s2mel.layout import make_layout

LIMIT = 1e-4


def inputs(frames: int, prompt: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return torch.randn(6, frames), torch.randn(6, prompt), torch.randn(frames, 12), torch.randn(5)


@pytest.mark.slow
def test_rows_at_different_times_equal_their_single_runs(solver: FlowSolver) -> None:
    # (frames, prompt, guidance, steps): short ends, no prompt, prompts beyond the halo of the head.
    shapes = [
        (40, 25, 0.7, 6),
        (9, 8, 0.0, 4),
        (40, 3, 0.3, 9),
        (33, 0, 0.7, 6),
        (41, 30, 0.0, 6),
        (4, 2, 1.5, 3),
    ]
    given = [inputs(frames, prompt) for frames, prompt, _, _ in shapes]

    def admit(i: int) -> FlowRow:
        return solver.admit(*given[i], guidance=shapes[i][2], steps=shapes[i][3])

    alone = [solver.solve([admit(i)])[0] for i in range(len(shapes))]
    rows = [admit(i) for i in range(len(shapes))]
    solver.advance(rows[:3])
    solver.advance(rows[4:2:-1])
    for row, mel in zip(rows, solver.solve(rows), strict=True):
        assert row.done
        i = rows.index(row)
        assert mel.shape == (6, shapes[i][0] - shapes[i][1])
        torch.testing.assert_close(mel, alone[i], atol=LIMIT, rtol=0)


def test_guidance_fades_out_towards_an_open_end(solver: FlowSolver) -> None:
    given = inputs(70, 10)

    def mel(guidance: float, *, open_end: bool = False) -> Tensor:
        return solver.solve([solver.admit(*given, guidance=guidance, open_end=open_end, steps=1)])[0]

    guided, free, faded = mel(0.7), mel(0.0), mel(0.7, open_end=True)
    assert torch.equal(mel(0.0, open_end=True), free)
    full = 60 - UNGUIDED_FRAMES - RISING_FRAMES
    torch.testing.assert_close(faded[:, :full], guided[:, :full], atol=LIMIT, rtol=0)
    torch.testing.assert_close(faded[:, -UNGUIDED_FRAMES:], free[:, -UNGUIDED_FRAMES:], atol=LIMIT, rtol=0)
    between = slice(full, -UNGUIDED_FRAMES)
    share = ((faded - free).norm(dim=0) / (guided - free).norm(dim=0))[between]
    assert (share.diff() < 0).all()
    assert 0 < share[-1] < share[0] < 1


def test_head_of_the_target_alone_equals_the_whole_head(solver: FlowSolver) -> None:
    """Frames of the prompt that the target cannot see are not computed; the rest must not notice."""
    estimator = solver.estimator
    dims = estimator.dims
    lengths, prompts = [50, 38, 44], [40, 12, 30]
    x, static = torch.randn(3, 50, 6), torch.randn(3, 50, 16)
    times = estimator.project_times(torch.tensor([0.1, 0.5, 0.9]))
    velocities = []
    for kept in (prompts, [0, 0, 0]):
        layout = make_layout(lengths, kept, halo=dims.head_halo_frames, padding=dims.wavenet_padding)
        out = estimator(estimator.merge_noise(x) + static, x, times, layout)
        skip = [p if kept == [0, 0, 0] else s for p, s in zip(prompts, layout.target_starts, strict=True)]
        velocities.append(
            [row[s : s + n - p] for row, s, n, p in zip(out, skip, lengths, prompts, strict=True)]
        )
    assert layout.window.index == slice(0, 50)
    for trimmed, whole in zip(*velocities, strict=True):
        torch.testing.assert_close(trimmed, whole, atol=1e-5, rtol=0)


def test_padding_never_reaches_a_valid_frame(solver: FlowSolver) -> None:
    estimator = solver.estimator
    dims = estimator.dims
    x, static = torch.randn(2, 30, 6), torch.randn(2, 30, 16)
    times = estimator.project_times(torch.tensor([0.3]))
    layout = make_layout([30, 17], [5, 4], halo=dims.head_halo_frames, padding=dims.wavenet_padding)

    def velocity() -> Tensor:
        return estimator(estimator.merge_noise(x) + static, x, times, layout)[1, :17]

    clean = velocity()
    x[1, 17:], static[1, 17:] = 1000 * torch.randn(13, 6), -50.0
    torch.testing.assert_close(velocity(), clean, atol=1e-5, rtol=0)


def test_nothing_of_the_arguments_is_kept(solver: FlowSolver) -> None:
    given = inputs(20, 6)
    copies = [part.clone() for part in given]
    row = solver.admit(*given, steps=3)
    for part in given:
        part.zero_()
    assert torch.equal(solver.solve([row])[0], solver.solve([solver.admit(*copies, steps=3)])[0])


def test_mel_is_a_copy(solver: FlowSolver) -> None:
    row = solver.admit(*inputs(20, 6), steps=2)
    before = row.mel()
    kept = before.clone()
    solver.advance([row])
    assert torch.equal(before, kept)
    assert not torch.equal(row.mel(), kept)


def test_network_rows(solver: FlowSolver) -> None:
    assert solver.admit(*inputs(9, 3), guidance=0.7).network_rows == 2
    assert solver.admit(*inputs(9, 3), guidance=0.0).network_rows == 1


def test_advancing_nothing(solver: FlowSolver) -> None:
    solver.advance([])


@pytest.mark.parametrize(
    ("frames", "prompt", "match"), [(10, 10, "more frames"), (3, 1, "at least 4"), (16385, 4, "16384")]
)
def test_impossible_lengths_are_refused(solver: FlowSolver, frames: int, prompt: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        solver.admit(*inputs(frames, prompt))


def test_condition_of_another_length_is_refused(solver: FlowSolver) -> None:
    noise, prompt, mu, style = inputs(12, 3)
    with pytest.raises(ValueError, match="mu has 11"):
        solver.admit(noise, prompt, mu[:-1], style)


def test_grid() -> None:
    grid = euler_grid(25)
    assert len(grid.times) == len(grid.deltas) == 25
    assert grid.times[0] == 0
    assert sum(grid.deltas) == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 1"):
        euler_grid(0)


def test_times_are_projected_once_and_forgotten_when_there_are_too_many() -> None:
    asked: list[float] = []

    def project(t: Tensor) -> TimeProjections:
        asked.append(t.item())
        return TimeProjections(norms=t.view(1, 1, 1, 1), wavenet=t.view(1, 1, 1, 1), final=t.view(1, 1, 1))

    cache = TimeCache(project, torch.device("cpu"))
    assert cache.batch([0.5, 0.25, 0.5]).final.flatten().tolist() == [0.5, 0.25, 0.5]
    assert cache.batch([0.25, 0.25]).final.shape == (1, 1, 1)
    assert asked == [0.5, 0.25]
    for i in range(MAX_TIMES):
        cache.batch([float(i)])
    assert cache.batch([0.5]).final.item() == 0.5
    assert asked.count(0.5) == 2
