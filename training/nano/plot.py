"""One picture per training from its JSON-lines log. `python -m training.nano.plot`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib

from training.nano.workspace import Workspace

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def curves(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Figure name to (minutes of work, value)."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for name, value in entry.items():
            if name not in {"step", "worked_s"}:
                found[name].append((entry["worked_s"] / 60, value))
    return found


def draw(log: Path, picture: Path) -> None:
    """A panel per figure; the held-out curve lies over the training curve of the same name."""
    found = curves(log)
    names = sorted({name.removeprefix("held_out.") for name in found})
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for key, style in ((name, "-"), (f"held_out.{name}", "o-")):
            if key in found:
                axis.plot(*zip(*found[key], strict=True), style, label=key, markersize=3)
        axis.set_title(name)
        axis.set_xlabel("minutes of work")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Workspace().root)
    workspace = Workspace(parser.parse_args().root)
    for log in sorted((workspace.root / "runs").glob("*/log.jsonl")):
        draw(log, log.with_name("curve.png"))
        print(log.with_name("curve.png"))


if __name__ == "__main__":
    main()
