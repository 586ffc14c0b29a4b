"""Arguments that every training step understands."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.nano.train_loop import Budget
from training.nano.workspace import DEFAULT_ROOT


def add_common(parser: argparse.ArgumentParser, minutes: float) -> None:
    """`minutes` is the default amount of work: of one core on a CPU, of wall time on a GPU."""
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


def budget_of(arguments: argparse.Namespace) -> Budget:
    return Budget(minutes=arguments.minutes, steps=arguments.steps)
