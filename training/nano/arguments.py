"""What every training step understands on its command line, and does with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.nano.train_loop import Budget, Training, train
from training.nano.workspace import DEFAULT_ROOT, Workspace


def trainer_parser(description: str | None, minutes: float) -> argparse.ArgumentParser:
    """`minutes` is the default amount of work: of one core on a CPU, of wall time on a GPU."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="folder of all data and checkpoints")
    parser.add_argument("--device", default="cpu", help="torch device: cpu or cuda")
    parser.add_argument("--minutes", type=float, default=minutes, help="work in all, earlier runs counted in")
    parser.add_argument(
        "--rate",
        type=float,
        default=1.0,
        help="factor of the learning rate; below 1 for short later schedules",
    )
    parser.add_argument("--steps", type=int, default=None, help="stop earlier, after this many steps")
    return parser


def train_as_asked(training: Training, run: str, arguments: argparse.Namespace) -> None:
    """Work in the folder of `run`, as the arguments of a `trainer_parser` say."""
    budget = Budget(minutes=arguments.minutes, steps=arguments.steps)
    train(training, Workspace(arguments.root).run(run), budget, arguments.device, arguments.rate)
