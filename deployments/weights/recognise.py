"""Which family's checkpoint a directory is, and what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from deployments.core.pipeline import families


@dataclass(frozen=True, slots=True)
class Recognised:
    """`kind` of a `models` entry; `what` it is, for people; `problems` as `voicegraph models verify` names them."""

    kind: str
    what: str
    problems: tuple[str, ...]


def recognise(directory: Path) -> Recognised | None:
    """None where no family knows the directory. Shapes are compared, values are not read.

    A family knows its own by `recognise` (directory -> a sentence, or None) of its `checkpoint_check`.
    """
    for family in families():
        place = f"deployments.{family}.checkpoint_check"
        if importlib.util.find_spec(place) is None:
            continue
        check = importlib.import_module(place)
        what: str | None = check.recognise(directory)
        if what is not None:
            return Recognised(family, what, tuple(check.problems(directory)))
    return None
