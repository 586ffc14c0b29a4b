"""s2mel behind the codec's decoder against the golden data: conditions, flow, and the stage as a whole.

indextts2.5-delta.md 3, 6.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_close import close
from golden_index25 import Golden25

from deployments.indextts2.s2mel import mel_model
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.s2mel.layout import make_layout
from deployments.indextts2.sampling import Params
from deployments.indextts2.traits import TWO_AND_A_HALF

REGULATED = 1e-5
MASKED = 5e-5
ONE_EVALUATION = 5e-5
FLOW = 1e-3
FACTOR = re.compile(r"cond_df([\d.]+)")


@pytest.fixture(scope="module")
def golden_stage(golden_25: Path) -> Golden25:
    return Golden25.load(golden_25)


@pytest.fixture
def engine(golden_stage: Golden25) -> Iterator[S2MelEngine]:
    engine = golden_stage.engine()
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture
def noise_of(monkeypatch: pytest.MonkeyPatch, golden_stage: Golden25) -> Callable[[dict[int, Any]], None]:
    """Let the noise of a job be what the file says, by the seed of the job: (bands, P + L), prompt included."""

    def use(noise: dict[int, Any]) -> None:
        def normals(seed: int, stream: int, first: int, count: int, bands: int) -> np.ndarray:
            start = golden_stage.prompt_frames + first
            return noise[seed][:, start : start + count].numpy()

        monkeypatch.setattr(mel_model, "normals", normals)

    return use


def test_lengths(golden_25: Path) -> None:
    table = json.loads((golden_25 / "lengths.json").read_text())
    for codes, expected in table["frames"].items():
        found = [
            mel_frames(int(codes), TWO_AND_A_HALF.frames_per_code, factor)
            for factor in table["duration_factors"]
        ]
        assert found == expected


def test_prompt_condition(golden_stage: Golden25) -> None:
    given = golden_stage.given
    features = golden_stage.source.of_voice(golden_stage.profile)
    [found] = golden_stage.networks.length_regulator([features], [golden_stage.prompt_frames])
    close(found, given["prompt_condition"][0], REGULATED)


def test_conditions_at_every_duration_factor(golden_stage: Golden25) -> None:
    given, factors = golden_stage.given, golden_stage.factors
    assert factors
    rows = [given["in.S_infer"][0]] * len(factors)
    frames = [golden_stage.frames(len(rows[0]) // 2, factor) for factor in factors]
    regulate = golden_stage.networks.length_regulator
    together = regulate(rows, frames)
    for row, count, factor, out in zip(rows, frames, factors, together, strict=True):
        expected = given[f"cond_df{factor}"][0]
        [alone] = regulate([row], [count])
        close(alone, expected, REGULATED)
        close(out, expected, MASKED)


def test_one_evaluation(golden_stage: Golden25) -> None:
    given, estimator = golden_stage.given, golden_stage.networks.estimator
    x = given["dit.in.x"].mT
    static = estimator.merge_static(
        given["dit.in.prompt_x"][0], given["dit.in.cond"][0], given["in.style"][0]
    )
    layout = make_layout([x.shape[1]], [0], halo=0, padding=estimator.dims.wavenet_padding)
    times = estimator.project_times(given["dit.in.t"])
    found = estimator(estimator.merge_noise(x) + static, x, times, layout).mT
    close(found, given["dit.out"], ONE_EVALUATION)


def flow_row(golden_stage: Golden25, solver: FlowSolver, factor: str, steps: int, guidance: float) -> FlowRow:
    given = golden_stage.given
    return solver.admit(
        given[f"cfm_df{factor}.in.noise"][0],
        given["in.ref_mel"][0],
        torch.cat([given["prompt_condition"][0], given[f"cond_df{factor}"][0]]),
        given["in.style"],
        steps=steps,
        guidance=guidance,
    )


def test_flow_rows_of_other_lengths_together(golden_stage: Golden25) -> None:
    given, solver = golden_stage.given, FlowSolver(golden_stage.networks.estimator)
    factors = [
        name.split("df")[1].removesuffix(".mel") for name in given if re.match(r"cfm_df.*\.mel$", name)
    ]
    rows = [flow_row(golden_stage, solver, factor, 25, 0.7) for factor in factors]
    for factor, mel in zip(factors, solver.solve(rows), strict=True):
        close(mel, given[f"cfm_df{factor}.mel"][0], FLOW)


def test_flow_without_guidance(golden_stage: Golden25) -> None:
    given, solver = golden_stage.given, FlowSolver(golden_stage.networks.estimator)
    found = [re.fullmatch(r"cfm_(\d+)steps_cfg0\.mel", name) for name in given]
    [case] = [match for match in found if match]
    [mel] = solver.solve([flow_row(golden_stage, solver, "1.0", int(case[1]), 0.0)])
    close(mel, given[case[0]][0], FLOW)


async def test_the_stage_from_codes_to_mel(
    golden_stage: Golden25, engine: S2MelEngine, noise_of: Callable[[dict[int, Any]], None]
) -> None:
    """All recorded utterances and all of their segments at once, each stretched as it was."""
    cases = golden_stage.utterances()
    noise_of(dict(enumerate(case.noise for case in cases)))
    jobs = [
        golden_stage.job(
            case.codes,
            seed=i,
            segment=f"segment-{i}",
            duration_factor=case.duration_factor,
            steps=case.steps,
            params=Params(guidance=case.guidance),
        )
        for i, case in enumerate(cases)
    ]
    replies = await asyncio.gather(*map(engine.mel, jobs))
    for reply, case in zip(replies, cases, strict=True):
        assert reply.value is not None
        close(torch.from_numpy(reply.value), case.mel, FLOW)
