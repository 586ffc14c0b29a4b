"""Clauses: a paragraph cut wherever a speaker could pause."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from deployments.text.abbreviations import stop_ends_sentence
from deployments.text.scripts import HAN, KANA, is_speakable, is_unspaced


class Boundary(IntEnum):
    """What ends a piece of text; a greater value is a longer pause."""

    NONE = 0  # between two words
    COMMA = 1  # comma, dash, ellipsis within a sentence
    CLAUSE = 2  # semicolon, colon
    SENTENCE = 3
    PARAGRAPH = 4


@dataclass(frozen=True)
class Clause:
    text: str
    boundary: Boundary


_SENTENCE_MARKS = ".!?。！？｡‼⁇⁈⁉؟।"
_CLAUSE_MARKS = ";；:：؛"
_COMMA_MARKS = ",，、،–—…⋯"
_MARKS = frozenset(_SENTENCE_MARKS + _CLAUSE_MARKS + _COMMA_MARKS)
# After these a pause needs no space; between digits they belong to a number ("12：30").
_WIDE_MARKS = frozenset("。！？｡；：，、—…⋯")
_ELLIPSIS_MARKS = frozenset(".…⋯")
_CLOSERS = frozenset("”’）)】]」』》〉»›}")
_RUN = re.compile(f"[{re.escape(''.join(sorted(_MARKS)))}]+")
_HYPHEN_DASH = re.compile(r"(?<=\s)-{1,3}(?=\s)")
_BRACKETS = re.compile(
    r"\([^()]{1,120}\)|\[[^][]{1,120}\]|（[^（）]{1,120}）|【[^【】]{1,120}】|《[^《》]{1,120}》"
)
_WORD_BEFORE = re.compile(rf"(?:(?![{HAN}{KANA}])[\w.])+$")
_LONGEST_ABBREVIATION = 24


def split_clauses(paragraph: str) -> list[Clause]:
    """Clauses of one paragraph (one line, single spaces); put together they are the paragraph.

    No cut inside numbers, abbreviations, addresses, ellipses and short brackets; closing quotes and brackets
    stay with what they close. A clause without letter or digit is joined to its neighbour. The last ends in
    PARAGRAPH.
    """
    clauses: list[Clause] = []
    opening = ""  # punctuation before the first clause
    start = 0
    for end, boundary in [*_boundaries(paragraph), (len(paragraph), Boundary.PARAGRAPH)]:
        text = paragraph[start:end]
        start = end
        if is_speakable(text):
            clauses.append(Clause(opening + text, boundary))
            opening = ""
        elif clauses:
            clauses[-1] = Clause(clauses[-1].text + text, max(clauses[-1].boundary, boundary))
        else:
            opening += text
    return clauses


def _boundaries(paragraph: str) -> list[tuple[int, Boundary]]:
    found: list[tuple[int, Boundary]] = []
    brackets = [match.span() for match in _BRACKETS.finditer(paragraph)]
    quotes_seen, counted_to, end = 0, 0, 0
    for run in _RUN.finditer(paragraph):
        if run.start() < end:
            continue
        quotes_seen += paragraph.count('"', counted_to, run.start())
        counted_to = run.start()
        while brackets and brackets[0][1] <= run.start():
            brackets.pop(0)
        if brackets and brackets[0][0] < run.start():
            continue
        end = _closing_end(paragraph, run.end(), quote_open=quotes_seen % 2 == 1)
        if end == len(paragraph):
            continue
        boundary = _boundary(paragraph, run.start(), run.end(), end)
        if boundary is not Boundary.NONE:
            found.append((end, boundary))
    found += [(dash.end(), Boundary.COMMA) for dash in _HYPHEN_DASH.finditer(paragraph)]
    return sorted(found)


def _closing_end(paragraph: str, end: int, *, quote_open: bool) -> int:
    """Where the closing quotes and brackets after a mark end, and the marks after those."""
    while end < len(paragraph):
        char = paragraph[end]
        following = paragraph[end + 1 : end + 2]
        if char == '"' and quote_open:
            quote_open = False
        elif char == "'":
            if following and not following.isspace() and following not in _MARKS:
                break
        elif char not in _CLOSERS and not (char in _MARKS and paragraph[end - 1] not in _MARKS):
            break
        end += 1
    return end


def _boundary(paragraph: str, start: int, run_end: int, end: int) -> Boundary:
    """The kind of pause at `end`, after a run of marks [start, run_end) and what closes with it."""
    marks = paragraph[start:run_end]
    last = next(char for char in reversed(paragraph[start:end]) if char in _MARKS)
    before, after = paragraph[start - 1 : start], paragraph[end : end + 1]
    following = paragraph[end : end + 2].strip()[:1]
    wide = last in _WIDE_MARKS or marks[-1] in _WIDE_MARKS
    if wide and before.isdigit() and after.isdigit():
        return Boundary.NONE
    if not wide and not after.isspace() and not is_unspaced(after):
        return Boundary.NONE
    if marks != "." and set(marks) <= _ELLIPSIS_MARKS:
        return Boundary.SENTENCE if following.isupper() else Boundary.COMMA
    if last in _CLAUSE_MARKS:
        return Boundary.CLAUSE
    quoted = end > run_end and following.islower()  # "Why?" she asked.
    if quoted or last in _COMMA_MARKS:
        return Boundary.COMMA
    return Boundary.SENTENCE if marks != "." or _stop_ends(paragraph, start, following) else Boundary.NONE


def _stop_ends(paragraph: str, start: int, following: str) -> bool:
    floor = max(0, start - _LONGEST_ABBREVIATION)
    word = _WORD_BEFORE.search(paragraph[floor:start])
    if word is None:
        return True
    return stop_ends_sentence(word.group(), following, opens_paragraph=floor + word.start() == 0)


def split_paragraphs(text: str) -> list[str]:
    """The paragraphs in order, each on one line with single spaces, none empty.

    A blank line always ends a paragraph. A single line break does too, unless the next line starts with a
    lower-case letter: that is text wrapped by an editor, and the break is a space.
    """
    paragraphs: list[str] = []
    open_lines: list[str] = []
    for line in (" ".join(line.split()) for line in text.splitlines()):
        if open_lines and not line[:1].islower():
            paragraphs.append(" ".join(open_lines))
            open_lines = []
        if line:
            open_lines.append(line)
    return [*paragraphs, " ".join(open_lines)] if open_lines else paragraphs
