"""Schedules: stopped ones go on, ended ones are followed by another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from training.nano.optimise import Average, Descent, Schedule
from training.nano.train_loop import Budget, Training, Work, average_of, save_weights, train


class Line(Training):
    """Learns that the answer is 3; notes the progress of its steps."""

    def __init__(self) -> None:
        super().__init__(0)
        self.network = nn.Linear(1, 1)
        self.average = Average(self.network, 0.9)
        self.descent = Descent(self.network.parameters(), Schedule(0.1, warmup_steps=1))
        self.seen: list[float] = []

    @property
    def parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "descent": self.descent}

    def step(self, progress: float) -> dict[str, float]:
        self.seen.append(progress)
        loss = (self.network(torch.ones(1, 1)) - 3).square().mean()
        self.descent.step(loss, progress)
        self.average.update()
        return {"loss": loss.item()}

    def evaluate(self) -> dict[str, float]:
        return {"steps": float(self.descent.steps)}


def test_progress_is_a_share_of_the_schedule() -> None:
    budget = Budget(minutes=10, steps=200)
    assert budget.progress(Work(300, 20)) == 0.5
    assert budget.progress(Work(300, 180), Work(0, 160)) == 0.5
    assert budget.progress(Work(450, 0), Work(300, 0)) == 0.5
    assert budget.progress(Work(700, 0), Work(700, 0)) == 1
    with pytest.raises(ValueError, match="minutes or steps"):
        Budget().progress(Work())


def test_an_ended_training_begins_another_schedule(tmp_path: Path) -> None:
    first = Line()
    train(first, tmp_path, Budget(steps=10), "cpu")
    assert first.fresh
    again = Line()
    assert train(again, tmp_path, Budget(steps=10), "cpu") == {}
    more = Line()
    assert train(more, tmp_path, Budget(steps=14), "cpu", rate=0.5) == {"steps": 14}
    assert more.seen == [0, 0.25, 0.5, 0.75]
    assert not more.fresh
    assert more.descent.factor == 0.5


def test_weights_alone_are_enough_to_go_on(tmp_path: Path) -> None:
    known = {"weight": torch.full((1, 1), 2.0), "bias": torch.ones(1)}
    save_weights(tmp_path, known, Work(60, 100))
    assert average_of(tmp_path).keys() == known.keys()
    training = Line()
    train(training, tmp_path, Budget(steps=101), "cpu")
    assert training.descent.steps == 1
    assert average_of(tmp_path)["weight"].item() == pytest.approx(2, abs=0.2)
