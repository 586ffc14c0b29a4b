"""The loop all trainers share: resumable, logged as JSON lines, scheduled by work done.

Work is counted in CPU seconds of this process on a CPU and in wall seconds on a GPU. So a trainer that is
stopped (SIGSTOP) or crowded out for minutes neither skips a part of its schedule nor ends without annealing.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.nano.optimise import Average, Descent
from training.nano.workspace import write_atomically

CHECKPOINT_EVERY_S = 240.0
LOG_EVERY_S = 15.0


@dataclass(frozen=True)
class Work:
    """What a training has done so far."""

    seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class Budget:
    """How much work a training is given in all, earlier runs counted in: minutes, or steps in tests."""

    minutes: float | None = None
    steps: int | None = None
    evaluate_every_s: float = 180.0

    def progress(self, done: Work, begun: Work = Work()) -> float:
        """Share that is done of the schedule that began after `begun`; 1 and more when nothing is left."""
        shares = []
        if self.minutes is not None:
            shares.append(_share(done.seconds, begun.seconds, 60 * self.minutes))
        if self.steps is not None:
            shares.append(_share(done.steps, begun.steps, self.steps))
        if not shares:
            raise ValueError("a budget needs minutes or steps")
        return max(shares)


def _share(done: float, begun: float, limit: float) -> float:
    return (done - begun) / (limit - begun) if limit > begun else 1.0


class Training(ABC):
    """What a trainer tells the loop. `parts` are saved and restored by name, each with `state_dict`.

    `fresh`: the networks began this schedule knowing nothing. What helps only then is left out in later schedules, and
    by a trainer that sets it to False because it begins with the weights of another.
    """

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.fresh = True

    @property
    @abstractmethod
    def parts(self) -> dict[str, Any]: ...

    @abstractmethod
    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; returns figures for the log."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Held-out figures, with the averaged weights where there are some."""


class NetworkTraining(Training):
    """Of one network by one optimiser, with an average of its weights."""

    network: nn.Module
    average: Average
    descent: Descent

    @property
    def parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "descent": self.descent}


class WorkClock:
    """Seconds of work, restored from a checkpoint and counting on."""

    def __init__(self, device: str) -> None:
        self._now = time.process_time if device == "cpu" else time.monotonic
        self._zero = self._now()

    def seconds(self) -> float:
        return self._now() - self._zero

    def restore(self, seconds: float) -> None:
        self._zero = self._now() - seconds


def train(
    training: Training, folder: Path, budget: Budget, device: str, rate: float = 1.0
) -> dict[str, float]:
    """Work until the budget is spent, from `folder/checkpoint.pt` on; returns the last held-out figures.

    A training that was stopped goes on in its schedule. One that had come to its end begins another: the rate rises
    again, and falls until the additional work is done. `rate` is a factor of all learning rates.
    """
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    clock = WorkClock(device)
    step, begun = _restore(training, folder, clock)
    training.fresh = training.fresh and begun == Work()
    for part in training.parts.values():
        if isinstance(part, Descent):
            part.factor = rate
    log = _Log(folder / "log.jsonl")
    stop = _StopRequest()
    saved = evaluated = clock.seconds()

    def progress() -> float:
        return budget.progress(Work(clock.seconds(), step), begun)

    if progress() >= 1:
        print(f"{folder.name}: all {step} steps are done; ask for more minutes to go on")
        return {}
    while (now := progress()) < 1:
        log.step(step, now, clock.seconds() - begun.seconds, clock.seconds(), training.step(now))
        step += 1
        if clock.seconds() - evaluated > budget.evaluate_every_s:
            log.held_out(step, clock.seconds(), training.evaluate())
            evaluated = clock.seconds()
        if stop.asked or clock.seconds() - saved > CHECKPOINT_EVERY_S:
            _save(training, folder, Work(clock.seconds(), step), begun)
            saved = clock.seconds()
        if stop.asked:
            raise SystemExit(f"stopped after {step} steps; the same command goes on from there")
    figures = training.evaluate()
    log.held_out(step, clock.seconds(), figures)
    ended = Work(clock.seconds(), step)
    _save(training, folder, ended, begun=ended)
    return figures


class _StopRequest:
    """SIGTERM asks for a checkpoint before the end. Only the main thread may be asked."""

    def __init__(self) -> None:
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def _save(training: Training, folder: Path, done: Work, begun: Work) -> None:
    state = {
        "step": done.steps,
        "worked_s": done.seconds,
        "begun": [begun.seconds, begun.steps],
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": json.dumps(training.generator.bit_generator.state),
        "parts": {name: part.state_dict() for name, part in training.parts.items()},
    }
    write_atomically(folder / "checkpoint.pt", lambda temporary: torch.save(state, temporary))


def save_weights(folder: Path, state: dict[str, torch.Tensor], done: Work) -> None:
    """A checkpoint of averaged weights alone, from which a training begins another schedule."""
    stored = {
        "step": done.steps,
        "worked_s": done.seconds,
        "begun": [done.seconds, done.steps],
        "parts": {"average": {"state": state}},
    }
    write_atomically(folder / "checkpoint.pt", lambda temporary: torch.save(stored, temporary))


def average_of(folder: Path) -> dict[str, torch.Tensor]:
    """Averaged weights of the training in `folder`."""
    found: dict[str, torch.Tensor] = parts_of(folder)["average"]["state"]
    return found


def parts_of(folder: Path) -> dict[str, Any]:
    """States of the parts of the training in `folder`, by name; those of `save_weights` are the average alone."""
    stored = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    found: dict[str, Any] = stored["parts"]
    return found


def _restore(training: Training, folder: Path, clock: WorkClock) -> tuple[int, Work]:
    """Steps done, and what had been done when the schedule began."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0, Work()
    state = torch.load(path, map_location="cpu", weights_only=True)
    parts = training.parts
    clock.restore(state["worked_s"])
    if set(state["parts"]) == {"average"}:
        parts["average"].adopt(state["parts"]["average"]["state"])
    else:
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
        torch.set_rng_state(state["torch_rng"])
        training.generator.bit_generator.state = json.loads(state["numpy_rng"])
    return int(state["step"]), Work(*state["begun"])


class _Log:
    """JSON lines for the plots and one readable line now and then, with the time left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: dict[str, list[float]] = {}
        self._last = float("-inf")

    def step(
        self, step: int, progress: float, spent_s: float, worked_s: float, figures: dict[str, float]
    ) -> None:
        """`spent_s` of work belong to the schedule that `progress` is a share of."""
        for name, value in figures.items():
            self._seen.setdefault(name, []).append(value)
        if worked_s - self._last < LOG_EVERY_S:
            return
        means = {name: round(sum(values) / len(values), 5) for name, values in self._seen.items()}
        left_s = spent_s * (1 - progress) / progress if progress > 0 else float("nan")
        bar = "#" * int(20 * progress)
        print(f"[{bar:<20}] {progress:4.0%} step {step} left {left_s / 60:.1f} min {means}", flush=True)
        self._write({"step": step, "worked_s": round(worked_s, 1), **means})
        self._seen, self._last = {}, worked_s

    def held_out(self, step: int, worked_s: float, figures: dict[str, float]) -> None:
        rounded = {f"held_out.{name}": round(value, 5) for name, value in figures.items()}
        print(f"step {step}: {rounded}", flush=True)
        self._write({"step": step, "worked_s": round(worked_s, 1), **rounded})

    def _write(self, line: dict[str, float]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
