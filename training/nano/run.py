"""Runs what is missing, in order. `python -m training.nano.run [--root DIR] [--device cpu] [--until s2mel]`.

Every step is a process of its own and resumes where it was stopped; this command may be killed at any time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from training.nano.workspace import DEFAULT_ROOT


@dataclass(frozen=True)
class Step:
    name: str
    trains: bool = False  # takes --device
    options: tuple[str, ...] = ()


STEPS = (
    Step("assets"),
    Step("texts"),
    Step("data"),
    Step("features"),
    Step("style"),
    Step("encoder", trains=True),
    Step("codec", trains=True),
    Step("codes"),
    Step("vocoder", trains=True),
    Step("tokenizer"),
    Step("scores"),
    Step("code_writer", trains=True),
    Step("written"),
    Step("gpt", trains=True),
    Step("latents"),
    Step("s2mel", trains=True),
    Step("listener", trains=True),
    Step("sharpen", trains=True),
    Step("generated"),
    Step("vocoder", trains=True, options=("--minutes", "34")),
    Step("export"),
    Step("plot"),
)


def command(step: Step, root: Path, device: str) -> list[str]:
    module = [sys.executable, "-u", "-m", f"training.nano.{step.name}"]
    if step.name == "texts":
        return [*module, str(root)]
    return [*module, "--root", str(root), *(["--device", device] if step.trains else []), *step.options]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--until", choices=list(dict.fromkeys(step.name for step in STEPS)), default="plot")
    arguments = parser.parse_args()
    for step in STEPS:
        if step.name == "texts" and (arguments.root / "texts.txt").exists():
            continue
        print(f"== {step.name}", flush=True)
        subprocess.run(command(step, arguments.root, arguments.device), check=True)
        if step.name == arguments.until:
            return


if __name__ == "__main__":
    main()
