"""Where a text may be cut into pieces that are spoken one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deployments.text.clauses import Boundary, split_clauses, split_paragraphs
from deployments.text.connectives import cut_places, hard_cut
from deployments.text.pauses import stretches
from deployments.text.scripts import is_speakable, spoken_width

LEAST_WIDTH = 14  # of either part of a clause that is cut: a word alone is spoken like a sentence
TORN = 3  # rank of a cut inside a phrase, or a word
PAUSE_S: dict[Boundary, float] = {
    Boundary.NONE: 0.0,
    Boundary.COMMA: 0.12,
    Boundary.CLAUSE: 0.2,
    Boundary.SENTENCE: 0.3,
    Boundary.PARAGRAPH: 0.6,
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of text and the silence that belongs after it, which is exact where the text itself asks for it
    (`pause_asked`); `lead_s` of silence it asks for before its first word."""

    text: str
    boundary: Boundary
    pause_after_s: float
    pause_asked: bool = False
    lead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """After `chars` characters of the text as it is spoken, `width` wide in Latin characters."""

    chars: int
    width: int
    boundary: Boundary
    rank: int = 0  # of a cut between words: 0 at a conjunction, the higher the worse
    asked_s: float | None = None  # the pause that the text asks for there


class CutText:
    """A text with all its cuts, the last of which is its end. Neighbours are at most `max_chars` apart, save for a run
    of punctuation, and between them is something to say. A text without anything to say has none."""

    def __init__(self, text: str, *, max_chars: int) -> None:
        self._text = ""
        self.cuts: list[Cut] = []
        parts = stretches(text)
        self._lead_s = parts[0].lead_s
        for part in parts:
            self._add(part.text, max_chars)
            if part.pause_s is not None and self.cuts:
                self.cuts[-1] = replace(self.cuts[-1], asked_s=part.pause_s)

    def _add(self, text: str, max_chars: int) -> None:
        """What lies between two pauses that were asked for; its last cut is the end of a paragraph."""
        width = self.width
        for paragraph in _speakable_paragraphs(text):
            for clause in split_clauses(paragraph):
                for cut in _inside(clause.text, max_chars):
                    self.cuts.append(
                        Cut(len(self._text) + cut.chars, width + cut.width, Boundary.NONE, cut.rank)
                    )
                width += spoken_width(clause.text)
                self._text += clause.text
                self.cuts.append(Cut(len(self._text), width, clause.boundary))
            self._text += " "

    @property
    def width(self) -> int:
        return self.cuts[-1].width if self.cuts else 0

    def after(self, width: int) -> int:
        """Index of the first cut beyond `width`."""
        return bisect_right(self.cuts, width, key=lambda cut: cut.width)

    def piece(self, begin: Cut | None, end: Cut) -> Segment:
        """What lies between two cuts; the pause after the last piece is 0."""
        text = self._text[begin.chars if begin else 0 : end.chars].strip()
        lead_s = self._lead_s if begin is None else 0.0
        return Segment(text, end.boundary, self.pause_s(end), end.asked_s is not None, lead_s)

    def pause_s(self, cut: Cut) -> float:
        """The pause after a piece that ends there: the one that is asked for, else the natural one."""
        if cut.asked_s is not None:
            return cut.asked_s
        return 0.0 if cut is self.cuts[-1] else PAUSE_S[cut.boundary]


def _inside(clause: str, max_chars: int) -> Iterator[Cut]:
    """Cuts between the words of one clause, with `chars` and `width` counted from its start."""
    whole = spoken_width(clause)
    at = width = 0
    for place, rank in [*cut_places(clause), (len(clause), 0)]:
        while place - at > max_chars and (hard := _cut_word(clause[at:], max_chars)) is not None:
            at, width = at + hard, width + spoken_width(clause[at : at + hard])
            yield Cut(at, width, Boundary.NONE, TORN)
        if place == len(clause):
            return
        part = width + spoken_width(clause[at:place])
        if min(part, whole - part) >= LEAST_WIDTH and is_speakable(clause[at:place]):
            at, width = place, part
            yield Cut(at, width, Boundary.NONE, rank)


def _cut_word(text: str, max_chars: int) -> int | None:
    """The last place up to `max_chars` with something to say on both sides. Where the text begins with that many other
    characters, they do not count."""
    first = next((place for place, char in enumerate(text) if char.isalnum()), len(text))
    place = hard_cut(text, max_chars if first < max_chars else first + max_chars)
    return place if place is not None and place > first else None


def _speakable_paragraphs(text: str) -> list[str]:
    """Paragraphs; dividers such as "***" join the one before (or after, at the start)."""
    paragraphs: list[str] = []
    for paragraph in split_paragraphs(text):
        if paragraphs and (not is_speakable(paragraph) or not is_speakable(paragraphs[-1])):
            paragraphs[-1] += " " + paragraph
        else:
            paragraphs.append(paragraph)
    return paragraphs
