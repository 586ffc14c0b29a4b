"""Pauses that a text itself asks for, such as `<break time="500ms"/>`: one character that nobody types.

Inside the server a pause travels within the text, as a character of a private plane that says how long it is. Texts are
cut at these characters, so that no normaliser and no tokenizer ever sees one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deployments.text.scripts import is_speakable

MOST_PAUSE_S = 10.0  # each
MOST_PAUSES_S = 60.0  # of one text
_STEPS_PER_S = 100
_FIRST = 0xF0000
_LAST = _FIRST + round(MOST_PAUSES_S * _STEPS_PER_S)
PAUSE_CHARS = f"{chr(_FIRST)}-{chr(_LAST)}"  # a range for a character class
_PAUSES = re.compile(f"[{PAUSE_CHARS}]")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text between two asked pauses; `lead_s` only before the first, `pause_s` is None where none was asked for."""

    text: str
    pause_s: float | None = None
    lead_s: float = 0.0


def pause_mark(seconds: float) -> str:
    """The character of a pause; longer ones than `MOST_PAUSES_S` are the longest, which check_text refuses."""
    return chr(min(_FIRST + round(max(0.0, seconds) * _STEPS_PER_S), _LAST))


def asked_pauses_s(text: str) -> list[float]:
    return [_seconds(mark) for mark in _PAUSES.findall(text)]


def without_pauses(text: str) -> str:
    return _PAUSES.sub(" ", text)


def between_pauses(text: str, change: Callable[[str], str]) -> str:
    """`change` made to what lies between the pauses."""
    marks = [match.group() for match in _PAUSES.finditer(text)]
    parts = [change(part) for part in _PAUSES.split(text)]
    return "".join(part + mark for part, mark in zip(parts, [*marks, ""], strict=True))


def stretches(text: str) -> list[Stretch]:
    """The text in order, cut at its pauses. Pauses with nothing to say between them are one. A text without pauses is
    one stretch as it is; one without anything to say is too."""
    if not _PAUSES.search(text) or not is_speakable(text):
        return [Stretch(without_pauses(text))]
    found: list[Stretch] = []
    lead_s = 0.0
    held = ""  # signs that nothing can be said of, before the first word
    for part, pause_s in _parts(text):
        if is_speakable(part):
            found.append(Stretch(held + part, pause_s, 0.0 if found else lead_s))
            held = ""
        elif not found:
            held, lead_s = held + part, lead_s + (pause_s or 0.0)
        else:
            last = found[-1]
            total_s = (
                None if last.pause_s is None and pause_s is None else (last.pause_s or 0.0) + (pause_s or 0.0)
            )
            found[-1] = Stretch(last.text + part, total_s, last.lead_s)
    return found


def _parts(text: str) -> Iterator[tuple[str, float | None]]:
    start = 0
    for match in _PAUSES.finditer(text):
        yield text[start : match.start()], _seconds(match.group())
        start = match.end()
    yield text[start:], None


def _seconds(mark: str) -> float:
    return (ord(mark) - _FIRST) / _STEPS_PER_S
