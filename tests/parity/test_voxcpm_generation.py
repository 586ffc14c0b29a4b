"""VoxCPM from text to samples against the golden data: one request at a time, and many in ragged batches."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_close import close
from golden_voxcpm import (
    VERSIONS,
    GoldenVoxCPM,
    Said,
    StepBench,
    patches_of,
    said_alone,
    samples_of,
)

from deployments.engine import noise
from deployments.voxcpm.step import row as row_module
from deployments.voxcpm.step.job import VoxCPMJob
from deployments.voxcpm.step.model import PatchModel

LIMIT = 2e-4
LOGIT_LIMIT = 2e-5
ENDED = {"stop": "stop", "max_len": "limit"}


@pytest.fixture(scope="module", params=VERSIONS)
def known(request: pytest.FixtureRequest, golden: Path) -> GoldenVoxCPM:
    return GoldenVoxCPM(golden / "voxcpm" / request.param)


@pytest.fixture(scope="module")
def model(known: GoldenVoxCPM) -> PatchModel:
    return known.model()


@pytest.fixture
def golden_noise(known: GoldenVoxCPM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_module, "normals", known.noise_of_cases)


def assert_as_expected(known: GoldenVoxCPM, case: str, said: Said) -> None:
    about = known.about["cases"][case]
    assert len(said) == about["steps"]
    assert [chunk.ended for chunk in said] == [None] * (len(said) - 1) + [ENDED[about["stopped_by"]]]
    close(torch.from_numpy(patches_of(said)), known.arrays[f"{case}.patches"], LIMIT)
    close(torch.from_numpy(samples_of(said)), known.wave(case), LIMIT)


@pytest.mark.usefixtures("golden_noise")
def test_one_at_a_time(known: GoldenVoxCPM, model: PatchModel) -> None:
    for case in known.names:
        assert_as_expected(known, case, said_alone(model, known.job(case)))


@pytest.mark.usefixtures("golden_noise")
def test_prefixes_are_as_expected(known: GoldenVoxCPM, model: PatchModel) -> None:
    for case in known.names:
        row = model.admit(known.job(case))
        assert row.prefix.ids.tolist() == known.arrays[f"{case}.text_tokens"].tolist()
        assert row.prefix.is_audio.tolist() == known.arrays[f"{case}.feat_mask"].bool().tolist()
        model.release(row)


@pytest.mark.usefixtures("golden_noise")
def test_states_of_every_step(known: GoldenVoxCPM, model: PatchModel) -> None:
    for case in known.names:
        bench = StepBench(model)
        row = bench.join(known.job(case))
        for step in range(known.about["cases"][case]["steps"]):
            before = model._states.patch[row.slot].clone() if step else None
            bench.step()
            base, residual = model._states.base[row.slot], model._states.residual[row.slot]
            close(base, known.arrays[f"{case}.lm_hidden"][step], LIMIT)
            close(residual, known.arrays[f"{case}.residual_hidden"][step], LIMIT)
            with torch.inference_mode():
                mu = model._network.conditions(base[None], residual[None]).flatten()
                logits = model._network.stop_logits(base[None])[0]
            close(mu, known.arrays[f"{case}.dit_mu"][step], LIMIT)
            close(logits, known.arrays[f"{case}.stop_logits"][step], LOGIT_LIMIT)
            if before is not None:
                close(before.mT, known.arrays[f"{case}.dit_cond"][step], LIMIT)
        assert not bench.running


@pytest.mark.usefixtures("golden_noise")
@pytest.mark.parametrize("stagger", [0, 1, 3], ids=["together", "one-by-one", "every-third-step"])
def test_all_in_one_ragged_batch(known: GoldenVoxCPM, model: PatchModel, stagger: int) -> None:
    bench = StepBench(model)
    rows = {}
    for case in known.names:
        rows[case] = bench.join(known.job(case))
        for _ in range(stagger):
            bench.step()
    bench.finish()
    for case, row in rows.items():
        assert_as_expected(known, case, bench.rows[row])


@pytest.mark.usefixtures("golden_noise")
def test_prefixes_in_pieces(known: GoldenVoxCPM, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of five positions each, one piece a step: rows that speak go on meanwhile."""
    monkeypatch.setattr("deployments.voxcpm.step.prefix.PIECE", 5)
    bench = StepBench(known.model(prefill_positions=5))
    rows = {case: bench.join(known.job(case)) for case in known.names}
    bench.finish()
    for case, row in rows.items():
        assert_as_expected(known, case, bench.rows[row])


def random_jobs(known: GoldenVoxCPM, count: int) -> list[VoxCPMJob]:
    draw = random.Random(7)
    return [
        known.job(
            draw.choice(known.names),
            seed=draw.randrange(2**32),
            stream=draw.randrange(3),
            guidance=draw.choice([1.0, 1.5, 2.0, 3.0]),
            euler_steps=draw.choice([1, 3, 6, 10, 25]),
            first_euler_steps=draw.choice([None, 4]),
            max_patches=draw.randrange(1, 14),
        )
        for _ in range(count)
    ]


def test_company_changes_no_bit(known: GoldenVoxCPM, model: PatchModel) -> None:
    """16 requests that join at random steps, some of which leave, and rows that sit out at random."""
    draw = random.Random(11)
    jobs = random_jobs(known, 16)
    alone = [said_alone(model, job) for job in jobs]
    bench = StepBench(model)
    waiting, rows = list(range(len(jobs))), {}
    left = {3, 8}
    while waiting or bench.running:
        while waiting and draw.random() < 0.6:
            number = waiting.pop(0)
            rows[number] = bench.join(jobs[number])
        if bench.running:
            bench.step([row for row in bench.running if draw.random() < 0.8] or bench.running)
        for number in left & rows.keys():
            row = rows[number]
            if row in bench.running and len(bench.rows[row]) >= 2:
                bench.leave(row)
    for number, row in rows.items():
        found = bench.rows[row]
        expected = alone[number][: len(found)] if number in left else alone[number]
        assert len(found) == len(expected)
        np.testing.assert_array_equal(patches_of(found), patches_of(expected))
        np.testing.assert_array_equal(samples_of(found), samples_of(expected))
    assert model.free_slots == 16


def test_noise_depends_on_seed_stream_and_step_alone(known: GoldenVoxCPM, model: PatchModel) -> None:
    """One Euler step returns the noise itself."""
    job = known.job(known.names[0], euler_steps=1, seed=5, stream=2, max_patches=11, min_patches=100)
    said = said_alone(model, job)
    assert len(said) == 11
    size, channels = known.checkpoint.dims.patch_size, known.checkpoint.dims.latent_dim
    for step, chunk in enumerate(said):
        expected = noise.normals(5, 2, step * size, size, channels).T
        assert chunk.patches is not None
        np.testing.assert_array_equal(chunk.patches[0], expected)
