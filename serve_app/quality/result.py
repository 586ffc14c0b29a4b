"""What was measured of every item under one setting, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from serve_app.quality import EvalError

RESULT_VERSION = 1
KIND = "voicegraph-eval"

Failure = Literal["error", "empty", "long"]


@dataclass(frozen=True)
class ItemResult:
    """One item. Fields of measures that were not taken, or that an answer without sound cannot have, are None.

    `errors` counts words, `char_errors` letters of the words joined by spaces; without sound all are wrong.
    Times count from sending: `first_audio_s` to the first playable sample, `total_s` to the last byte.
    """

    id: str
    text: str
    voice: str | None
    heard: str | None = None
    words: int | None = None
    errors: int | None = None
    chars: int | None = None
    char_errors: int | None = None
    similarity: float | None = None
    dnsmos_ovrl: float | None = None
    dnsmos_p808: float | None = None
    audio_s: float = 0.0
    total_s: float | None = None
    first_audio_s: float | None = None
    plays_through: bool | None = None
    failure: Failure | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Result:
    """`settings` is what was asked, `chosen` the set (name, items, words, sha256), `time` ISO 8601 in UTC."""

    name: str
    time: str
    commit: str | None
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    measures: tuple[str, ...]
    items: tuple[ItemResult, ...]

    @property
    def same_items(self) -> tuple[tuple[str, str], ...]:
        """What must agree for two results to be compared."""
        return tuple((item.id, item.text) for item in self.items)


def write_result(path: Path, result: Result, figures: Mapping[str, Any]) -> None:
    """`figures` are for readers of the file; `read_result` does not need them."""
    shown = {
        "kind": KIND,
        "version": RESULT_VERSION,
        "name": result.name,
        "time": result.time,
        "commit": result.commit,
        "machine": dict(result.machine),
        "settings": dict(result.settings),
        "set": dict(result.chosen),
        "measures": list(result.measures),
        "figures": dict(figures),
    }
    head = json.dumps(shown, indent=2, ensure_ascii=False)[:-2]
    # One item per line: a change of one is one changed line.
    items = ",\n".join(f"    {json.dumps(asdict(item), ensure_ascii=False)}" for item in result.items)
    path.write_text(f'{head},\n  "items": [\n{items}\n  ]\n}}\n', encoding="utf-8")


def read_result(path: Path) -> Result:
    """EvalError for a file that is no result of this version."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvalError(f"cannot read {path}: {error}") from error
    if not isinstance(stored, dict) or stored.get("kind") != KIND:
        raise EvalError(f"{path} is no result of `voicegraph eval`")
    if stored.get("version") != RESULT_VERSION:
        raise EvalError(f"{path} has version {stored.get('version')}, this program reads {RESULT_VERSION}")
    names = {field.name for field in fields(ItemResult)}
    try:
        items = tuple(
            ItemResult(**{name: value for name, value in item.items() if name in names})
            for item in stored["items"]
        )
        return Result(
            name=stored["name"],
            time=stored["time"],
            commit=stored["commit"],
            machine=stored["machine"],
            settings=stored["settings"],
            chosen=stored["set"],
            measures=tuple(stored["measures"]),
            items=items,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EvalError(f"{path} is incomplete: {error}") from error
