"""Which jobs can be run, and how long they may become."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.errors import InvalidRequest, SpeechError, TooLarge
from deployments.voxcpm.dims import VoxCPMDims, dims_from
from deployments.voxcpm.step.job import VoxCPMJob, patch_limit, prefix_length
from deployments.voxcpm.step.prefix import Prefix, PrefixBudget

GOLDEN = Path(__file__).parents[2] / "golden/voxcpm"
ROOM = 256


def dims_of(version: str) -> VoxCPMDims:
    return dims_from(json.loads((GOLDEN / version / "model/config.json").read_text()))


V1, V2 = dims_of("v15"), dims_of("v2")


def patches(count: int) -> np.ndarray:
    return np.zeros((count, V1.patch_size, V1.latent_dim), np.float32)


JOB = VoxCPMJob("r", text_ids=(5, 6, 7), target_tokens=2, seed=0)


def test_a_text_lasts_no_longer_than_its_tokens_let_expect() -> None:
    assert patch_limit(JOB, V1, ROOM) == 6 * 2 + 10
    assert patch_limit(replace(JOB, max_patches=3), V1, ROOM) == 3


def test_prefix_and_patches_fit_the_room() -> None:
    job = replace(JOB, prompt=patches(10))
    assert prefix_length(job) == 3 + 1 + 10
    assert patch_limit(job, V1, 20) == 6
    assert patch_limit(job, V1, 15) == 1
    with pytest.raises(TooLarge, match="text and voice take 14 positions; there is room for 13"):
        patch_limit(job, V1, 14)


def test_a_reference_has_marks_around_it() -> None:
    job = replace(JOB, reference=patches(4), prompt=patches(2))
    assert prefix_length(job) == 1 + 4 + 1 + 3 + 1 + 2
    prefix = Prefix(job, 0, (V2.patch_size, V2.latent_dim))
    assert prefix.ids.tolist() == [103, 0, 0, 0, 0, 104, 5, 6, 7, 101, 0, 0]
    assert np.flatnonzero(prefix.is_audio).tolist() == [1, 2, 3, 4, 10, 11]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"text_ids": (), "target_tokens": 0}, InvalidRequest, "nothing to be spoken"),
        ({"target_tokens": 0}, InvalidRequest, "nothing to be spoken"),
        ({"text_ids": (5, 256)}, InvalidRequest, "this model knows 0 to 255"),
        ({"reference": patches(2)}, InvalidRequest, "only from a recording with its transcript"),
        ({"prompt": np.zeros((2, 3, 8), np.float32)}, InvalidRequest, "encoded for another model"),
        ({"prompt": np.full((1, 4, 8), np.nan, np.float32)}, InvalidRequest, "finite"),
        ({"prompt": patches(0)}, InvalidRequest, "shape"),
        ({"context": np.zeros((7, 3), np.float32)}, InvalidRequest, "context"),
        ({"guidance": float("nan")}, InvalidRequest, "guidance"),
        ({"euler_steps": 0}, InvalidRequest, "1 to 50 Euler steps"),
        ({"euler_steps": 51}, InvalidRequest, "1 to 50 Euler steps"),
        ({"first_euler_steps": 0}, InvalidRequest, "1 to 50 Euler steps"),
        ({"max_patches": 0}, InvalidRequest, "at least 1"),
        ({"min_patches": -1}, InvalidRequest, "at least 0"),
        ({"slack_s": float("nan")}, InvalidRequest, "slack_s"),
    ],
)
def test_what_cannot_be_run(changes: dict[str, Any], error: type[SpeechError], said: str) -> None:
    with pytest.raises(error, match=said):
        patch_limit(replace(JOB, **changes), V1, ROOM)


def test_a_prefix_is_cut_into_pieces_with_their_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.voxcpm.step.prefix.PIECE", 5)
    given = np.arange(6 * 4 * 8, dtype=np.float32).reshape(6, 4, 8)
    job = replace(JOB, reference=given[:4], prompt=given[4:])
    prefix, budget = Prefix(job, 3, (4, 8)), PrefixBudget(100)
    budget.take(prefix)
    assert prefix.done
    assert [len(piece.ids) for piece in budget.pieces] == [5, 5, 2]
    assert [piece.is_audio.sum() for piece in budget.pieces] == [len(p.patches) for p in budget.pieces]
    np.testing.assert_array_equal(np.concatenate([piece.patches for piece in budget.pieces]), given)
    assert {piece.slot for piece in budget.pieces} == {3}


def test_a_step_takes_in_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.voxcpm.step.prefix.PIECE", 5)
    first, second = (Prefix(replace(JOB, prompt=patches(7)), slot, (4, 8)) for slot in (0, 1))
    budget = PrefixBudget(12)
    for prefix in (first, second):
        budget.take(prefix)
    assert [piece.slot for piece in budget.pieces] == [0, 0, 0]
    assert first.done
    assert not second.begun
    small = PrefixBudget(1)
    small.take(second)
    assert [len(piece.ids) for piece in small.pieces] == [5], "one piece at least, or nobody would begin"
