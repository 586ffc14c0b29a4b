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

from training.nano.workspace import write_atomically

CHECKPOINT_EVERY_S = 240.0
LOG_EVERY_S = 15.0


@dataclass(frozen=True)
class Budget:
    """How much work a training is given in all, earlier runs counted in: minutes, or steps in tests."""

    minutes: float | None = None
    steps: int | None = None
    evaluate_every_s: float = 180.0

    def progress(self, worked_s: float, step: int) -> float:
        shares = []
        if self.minutes is not None:
            shares.append(worked_s / (60 * self.minutes))
        if self.steps is not None:
            shares.append(step / self.steps)
        if not shares:
            raise ValueError("a budget needs minutes or steps")
        return max(shares)


class Training(ABC):
    """What a trainer tells the loop. `parts` are saved and restored by name, each with `state_dict`."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    @property
    @abstractmethod
    def parts(self) -> dict[str, Any]: ...

    @abstractmethod
    def step(self, progress: float) -> dict[str, float]:
        """One optimiser step; returns figures for the log."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Held-out figures, with the averaged weights where there are some."""


class WorkClock:
    """Seconds of work, restored from a checkpoint and counting on."""

    def __init__(self, device: str) -> None:
        self._now = time.process_time if device == "cpu" else time.monotonic
        self._zero = self._now()

    def seconds(self) -> float:
        return self._now() - self._zero

    def restore(self, seconds: float) -> None:
        self._zero = self._now() - seconds


def train(training: Training, folder: Path, budget: Budget, device: str) -> dict[str, float]:
    """Work until the budget is spent, from `folder/checkpoint.pt` on; returns the last held-out figures."""
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    clock = WorkClock(device)
    step = _restore(training, folder, clock)
    if budget.progress(clock.seconds(), step) >= 1:
        print(f"{folder.name}: all {step} steps are done; ask for more minutes to go on")
        return {}
    log = _Log(folder / "log.jsonl", budget)
    stop = _StopRequest()
    saved = evaluated = clock.seconds()
    while (progress := budget.progress(clock.seconds(), step)) < 1:
        log.step(step, progress, clock.seconds(), training.step(progress))
        step += 1
        if clock.seconds() - evaluated > budget.evaluate_every_s:
            log.held_out(step, clock.seconds(), training.evaluate())
            evaluated = clock.seconds()
        if stop.asked or clock.seconds() - saved > CHECKPOINT_EVERY_S:
            _save(training, folder, step, clock)
            saved = clock.seconds()
        if stop.asked:
            raise SystemExit(f"stopped after {step} steps; the same command goes on from there")
    figures = training.evaluate()
    log.held_out(step, clock.seconds(), figures)
    _save(training, folder, step, clock)
    return figures


class _StopRequest:
    """SIGTERM asks for a checkpoint before the end. Only the main thread may be asked."""

    def __init__(self) -> None:
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def _save(training: Training, folder: Path, step: int, clock: WorkClock) -> None:
    state = {
        "step": step,
        "worked_s": clock.seconds(),
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": json.dumps(training.generator.bit_generator.state),
        "parts": {name: part.state_dict() for name, part in training.parts.items()},
    }
    write_atomically(folder / "checkpoint.pt", lambda temporary: torch.save(state, temporary))


def average_of(folder: Path) -> dict[str, torch.Tensor]:
    """Averaged weights of the training in `folder`."""
    stored = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    found: dict[str, torch.Tensor] = stored["parts"]["average"]["state"]
    return found


def _restore(training: Training, folder: Path, clock: WorkClock) -> int:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in training.parts.items():
        part.load_state_dict(state["parts"][name])
    torch.set_rng_state(state["torch_rng"])
    training.generator.bit_generator.state = json.loads(state["numpy_rng"])
    clock.restore(state["worked_s"])
    return int(state["step"])


class _Log:
    """JSON lines for the plots and one readable line now and then, with the time left."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self._path = path
        self._budget = budget
        self._seen: dict[str, list[float]] = {}
        self._last = float("-inf")

    def step(self, step: int, progress: float, worked_s: float, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self._seen.setdefault(name, []).append(value)
        if worked_s - self._last < LOG_EVERY_S:
            return
        means = {name: round(sum(values) / len(values), 5) for name, values in self._seen.items()}
        left_s = worked_s * (1 - progress) / progress if progress > 0 else float("nan")
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
