"""Reading the pages: sections, tables, sentences; and the code that they speak of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

from docs_repository import ROOT

SOURCES = ("serve_app", "deployments")


@cache
def page(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@cache
def sources() -> str:
    """The text of everything that serves."""
    return "\n".join(
        path.read_text(encoding="utf-8") for folder in SOURCES for path in (ROOT / folder).rglob("*.py")
    )


def section(path: str, heading: str) -> str:
    """From a heading to the next one of the same rank or above."""
    rank = heading.count("#")
    found = re.search(
        rf"^{re.escape(heading)}$(.*?)(?=^#{{1,{rank}}} |\Z)", page(path), re.DOTALL | re.MULTILINE
    )
    assert found, f"{path} has no section {heading!r}"
    return found[1]


def rows(text: str) -> Iterator[list[str]]:
    """Cells of all table rows but headings."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line.startswith("|") and not re.match(r"\|[ :|-]+$", line) and not re.match(r"\|[ :|-]+$", below):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def table(text: str) -> dict[str, list[str]]:
    """Rows by the name in back quotes in their first cell, with what stands behind it."""
    return {row[0].strip("`"): row[1:] for row in rows(text) if re.fullmatch(r"`[\w.]+`", row[0])}


def said(path: str, pattern: str) -> tuple[str, ...]:
    """The groups of the one place of a page that says this."""
    found = list(re.finditer(pattern, re.sub(r"\s+", " ", page(path))))
    assert len(found) == 1, f"{path}: {len(found)} places match {pattern!r}"
    return found[0].groups()


def value(place: str) -> Any:
    """`module:attribute`."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def constant(path: str, name: str) -> Any:
    """What a file assigns to a name, without importing it: some import Ray."""
    for node in ast.walk(ast.parse(page(path))):
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        if (
            isinstance(target, ast.Name)
            and target.id == name
            and isinstance(node, ast.Assign | ast.AnnAssign)
            and node.value
        ):
            return ast.literal_eval(node.value)
    raise AssertionError(f"{path} does not say what {name} is")
