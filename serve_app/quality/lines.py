"""What is spoken: the lines of a set, and with which voice and reference each goes to the server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serve_app.quality import EvalError
from serve_app.quality.plain_words import plain_words
from serve_app.quality.sentences import ENGLISH

RECORDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a")


@dataclass(frozen=True)
class Line:
    """`voice` None is the server's default. `reference` is a recording of the voice, for the similarity.

    With `clone` the reference is sent along and is the voice itself.
    """

    id: str
    text: str
    voice: str | None = None
    reference: Path | None = None
    clone: bool = False


@dataclass(frozen=True)
class LineSet:
    name: str
    lines: tuple[Line, ...]

    @property
    def words(self) -> int:
        return sum(len(plain_words(line.text)) for line in self.lines)

    @property
    def sha256(self) -> str:
        """Of ids and texts: equal digests, same items."""
        spoken = json.dumps([[line.id, line.text] for line in self.lines], ensure_ascii=False)
        return hashlib.sha256(spoken.encode()).hexdigest()

    def first(self, count: int | None) -> LineSet:
        return self if count is None else replace(self, lines=self.lines[:count])


def built_in() -> LineSet:
    return LineSet("built-in en", tuple(Line(f"{n:03d}", text) for n, text in enumerate(ENGLISH, start=1)))


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(min_length=1)
    id: str | None = Field(None, min_length=1)
    voice: str | None = Field(None, min_length=1)
    reference: str | None = None
    clone: bool = False


def read_set(path: Path) -> LineSet:
    """A UTF-8 file with a JSON object per line: `text`, and if wanted `id`, `voice`, `reference`, `clone`.

    Paths of references start at the file's folder. EvalError names the line that is wrong.
    """
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvalError(f"cannot read the set {path}: {error}") from error
    lines = tuple(
        _line(row, number, path.parent, f"{path}, line {number}")
        for number, row in enumerate(rows, start=1)
        if row.strip()
    )
    if not lines:
        raise EvalError(f'{path} has no line; write one object per line, like {{"text": "Good morning."}}')
    ids = [line.id for line in lines]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise EvalError(f"{path}: more than one line has the id {', '.join(twice)}")
    return LineSet(path.name, lines)


def _line(row: str, number: int, folder: Path, where: str) -> Line:
    try:
        entry = _Entry.model_validate_json(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise EvalError(f"{where}: {field + ': ' if field else ''}{first['msg']}") from error
    if not plain_words(entry.text):
        raise EvalError(f"{where}: the text has no word")
    reference = None if entry.reference is None else folder / entry.reference
    if reference is not None and not reference.is_file():
        raise EvalError(f"{where}: there is no recording {reference}")
    if entry.clone and reference is None:
        raise EvalError(f"{where}: clone needs a reference")
    return Line(entry.id or f"{number:03d}", entry.text, entry.voice, reference, entry.clone)


def recordings(folder: Path) -> dict[str, Path]:
    """The recordings of a folder by the name of the voice, which is the file's name without its ending."""
    if not folder.is_dir():
        raise EvalError(f"there is no folder {folder}; give one with recordings named like the voices")
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in RECORDINGS}
    if not found:
        raise EvalError(f"{folder} has no recording ({', '.join(RECORDINGS)})")
    return found


def cast(
    chosen: LineSet, voices: Sequence[str] = (), known: Mapping[str, Path] | None = None, clone: bool = False
) -> LineSet:
    """Give voices, in turn, to the lines that name none, and every voice its recording from `known`.

    With `clone`, the recordings are the voices: all of `known` in turn unless `voices` names some.
    """
    known = known or {}
    turn = tuple(voices) or (tuple(known) if clone else ())
    if clone and (unknown := [name for name in turn if name not in known]):
        raise EvalError(
            f"there is no recording of {', '.join(unknown)}; there are {', '.join(known) or 'none'}"
        )
    if clone and not turn:
        raise EvalError("cloning needs recordings; name their folder with --voices")

    def with_voice(number: int, line: Line) -> Line:
        own = line.voice is not None or line.reference is not None
        voice = line.voice if own or not turn else turn[number % len(turn)]
        reference = line.reference or (known.get(voice) if voice else None)
        return replace(line, voice=voice, reference=reference, clone=line.clone or (clone and not own))

    return replace(chosen, lines=tuple(with_voice(n, line) for n, line in enumerate(chosen.lines)))
