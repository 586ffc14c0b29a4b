"""First audio and C100 over load as a picture, from results of `benchmarks.listening` before and after a change.

python -m benchmarks.listening_plot BEFORE.json AFTER.json --output listening.svg
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

WIDTH, HEIGHT, LEFT, TOP = 330, 180, 46, 34
GAP = 60
COLOURS = ("#999999", "#1f6feb")
LOAD = re.compile(r"load (\d+)%")
Point = tuple[float, float]


def points(result: dict[str, Any], value: Callable[[dict[str, Any]], float | None]) -> list[Point]:
    """(load, value) of the scenes at a share of the capacity."""
    found = []
    for scene in result["heard"]:
        match, seen = LOAD.match(scene["scene"]), value(scene)
        if match is not None and seen is not None:
            found.append((float(match.group(1)) / 100, seen))
    return found


def panel(title: str, series: Sequence[list[Point]], top: float, unit: str, x: float) -> list[str]:
    """One diagram at `x`: its values reach from 0 to `top`."""

    def at(point: Point) -> str:
        load, value = point
        return f"{x + LEFT + load / 1.6 * WIDTH:.1f},{TOP + HEIGHT * (1 - min(value, top) / top):.1f}"

    bottom = TOP + HEIGHT
    drawn = [f'<text x="{x + LEFT}" y="20">{title}</text>']
    for part in range(5):
        y = TOP + HEIGHT * (1 - part / 4)
        drawn.append(f'<path d="M{x + LEFT} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        drawn.append(
            f'<text x="{x + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * part / 4:g}{unit}</text>'
        )
    for load in (0.5, 1.0, 1.5):
        place = x + LEFT + load / 1.6 * WIDTH
        drawn.append(f'<text x="{place:.1f}" y="{bottom + 18}" text-anchor="middle">{load:.0%}</text>')
    for colour, line in zip(COLOURS, series, strict=True):
        path = " ".join(at(point) for point in line)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [
            f'<circle cx="{place.split(",")[0]}" cy="{place.split(",")[1]}" r="3" fill="{colour}"/>'
            for place in map(at, line)
        ]
    return drawn


def picture(before: dict[str, Any], after: dict[str, Any]) -> str:
    both = (before, after)
    first = [points(result, lambda scene: scene["first_audio_p95_s"]) for result in both]
    plays = [points(result, lambda scene: scene["c100"] and 100 * scene["c100"]) for result in both]
    most_s = max(value for line in first for _, value in line)
    top_s = 4.0 * -(-most_s // 4)
    second = LEFT + WIDTH + GAP
    content = [
        *panel("first audio, 95 % (s)", first, top_s, "", 0),
        *panel("answers that play through (C100)", plays, 100, "%", second),
    ]
    for name, colour, x in (("before", COLOURS[0], LEFT), ("after", COLOURS[1], LEFT + 80)):
        content.append(f'<text x="{x}" y="{TOP + HEIGHT + 40}" fill="{colour}">{name}</text>')
    content.append(
        f'<text x="{LEFT + 200}" y="{TOP + HEIGHT + 40}">{after["model"]}; load as a share of capacity</text>'
    )
    size = f'width="{second + LEFT + WIDTH + 20}" height="{TOP + HEIGHT + 52}"'
    lines = "\n".join(content)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{lines}\n</svg>\n'
    )


def main(
    before: Annotated[Path, typer.Argument()],
    after: Annotated[Path, typer.Argument()],
    output: Annotated[Path, typer.Option()],
) -> None:
    """Draw two results into one picture."""
    output.write_text(picture(json.loads(before.read_text()), json.loads(after.read_text())))


if __name__ == "__main__":
    typer.run(main)
