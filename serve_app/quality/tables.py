"""Figures and comparisons for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from serve_app.quality.compare import Change
from serve_app.quality.figures import FIGURES, Figure
from serve_app.quality.result import Result

DASH = "–"
BY_NAME = {figure.name: figure for figure in FIGURES}


def shown(figure: Figure, value: float | None) -> str:
    return DASH if value is None else f"{value * figure.scale:.{figure.digits}f}"


def shown_change(change: Change) -> tuple[str, str]:
    """The change and its interval: a factor for figures of time, a signed difference for others."""
    figure = BY_NAME[change.figure]
    if figure.of_time:
        return f"×{change.change:.2f}", f"{change.low:.2f} to {change.high:.2f}"
    digits, scale = figure.digits, figure.scale
    low, high = (f"{value * scale:+.{digits}f}" for value in (change.low, change.high))
    return f"{change.change * scale:+.{digits}f}", f"{low} to {high}"


def failures(figures: dict[str, Any]) -> str:
    """Such as `2 of 104 (1 error, 1 long)`."""
    counts = {kind: count for kind, count in figures["failures"].items() if count}
    detail = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"{sum(counts.values())} of {figures['items']}" + (f" ({detail})" if detail else "")


def result_table(result: Result, figures: dict[str, Any]) -> Table:
    table = Table(title=f"{result.name}: {result.chosen['items']} items", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for figure in FIGURES:
        if figures[figure.name] is not None:
            table.add_row(figure.label, shown(figure, figures[figure.name]))
    through = figures["plays_through"]
    table.add_row("plays through from 100 ms", DASH if through is None else f"{through:.1%}")
    table.add_row("audio (s)", f"{figures['audio_s']:.1f}")
    table.add_row("failures", failures(figures))
    return table


def change_table(before: Result, after: Result, changes: Sequence[Change]) -> Table:
    """`*` marks what resampling the items does not explain."""
    title = f"{before.name} → {after.name}, {before.chosen['items']} items, 95 % intervals"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in (before.name, after.name, "change", "interval", ""):
        table.add_column(heading, justify="right")
    for change in changes:
        figure = BY_NAME[change.figure]
        values = shown(figure, change.before), shown(figure, change.after)
        table.add_row(figure.label, *values, *shown_change(change), "*" if change.beyond_chance else "")
    return table


def misheard(result: Result, most: int = 10) -> list[str]:
    """The items with the most wrong words, worst first, for whoever wants to know what went wrong."""
    wrong = sorted((item for item in result.items if item.errors), key=lambda item: -(item.errors or 0))
    return [f"{item.id}: {item.text!r} was heard as {item.heard!r}" for item in wrong[:most]]
