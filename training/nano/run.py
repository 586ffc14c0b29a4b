"""Runs what is missing, in order. `python -m training.nano.run [--root DIR] [--device cpu] [--until s2mel]`.

Every step is a process of its own and resumes where it was stopped; this command may be killed at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from training.nano.workspace import DEFAULT_ROOT

# Step, and whether it is a training that takes --device.
STEPS: tuple[tuple[str, bool], ...] = (
    ("assets", False),
    ("texts", False),
    ("data", False),
    ("features", False),
    ("style", False),
    ("encoder", True),
    ("codec", True),
    ("codes", False),
    ("vocoder", True),
    ("s2mel", True),
    ("tokenizer", False),
    ("gpt", True),
    ("export", False),
    ("plot", False),
)


def command(step: str, is_training: bool, root: Path, device: str) -> list[str]:
    if step == "texts":
        return [sys.executable, "-u", "-m", "training.nano.texts", str(root)]
    extra = ["--device", device] if is_training else []
    return [sys.executable, "-u", "-m", f"training.nano.{step}", "--root", str(root), *extra]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--until", choices=[step for step, _ in STEPS], default="plot")
    arguments = parser.parse_args()
    for step, is_training in STEPS:
        if step == "texts" and (arguments.root / "texts.txt").exists():
            continue
        print(f"== {step}", flush=True)
        subprocess.run(command(step, is_training, arguments.root, arguments.device), check=True)
        if step == arguments.until:
            return


if __name__ == "__main__":
    main()
