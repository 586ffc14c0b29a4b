"""What stages cost, from what they count before and after a load."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.core.metrics import StageMetrics
from serve_app.bench.costs import Level, model_cost
from serve_app.bench.errors import BenchError

FRESH = StageMetrics("a", rows=48)


def test_a_point_for_every_load() -> None:
    one = replace(FRESH, steps=100, rows_stepped=100, step_s=0.01)
    eight = replace(FRESH, steps=200, rows_stepped=900, step_s=0.015)
    found = model_cost(
        [
            Level({"gpt": [FRESH]}, {"gpt": [one]}, audio_s=5.0),
            Level({"gpt": [one]}, {"gpt": [eight]}, audio_s=40.0),
        ]
    )
    stage = found.stages["gpt"]
    assert stage.rows == 48
    assert stage.points == ((1.0, pytest.approx(0.2)), (8.0, pytest.approx(0.0375)))


def test_replicas_are_added_up_and_new_ones_counted_from_their_start() -> None:
    a = replace(FRESH, steps=10, rows_stepped=20, step_s=0.1)
    b = replace(FRESH, replica="b", steps=30, rows_stepped=60, step_s=0.1)
    found = model_cost([Level({"gpt": [FRESH]}, {"gpt": [a, b]}, audio_s=8.0)])
    assert found.stages["gpt"].points == ((2.0, pytest.approx(0.5)),)


def test_a_stage_that_did_nothing_has_no_cost() -> None:
    busy = replace(FRESH, steps=10, rows_stepped=10, step_s=0.1)
    levels = [Level({}, {"gpt": [busy], "speaker": [FRESH]}, audio_s=1.0)]
    assert model_cost(levels).stages.keys() == {"gpt"}
    with pytest.raises(BenchError, match="no stage has counted a step"):
        model_cost([Level({}, {"speaker": [FRESH]}, audio_s=1.0)])
