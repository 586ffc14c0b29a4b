"""Cutting a text into pieces to speak while it still arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployments.text.clauses import Boundary, split_clauses, split_paragraphs
from deployments.text.cleaning.clean import clean_text
from deployments.text.cuts import PAUSE_S
from deployments.text.scripts import is_speakable, word_ends

Granularity = Literal["none", "sentence", "clause"]

FEWEST_WORDS = 3  # of a clause spoken on its own; shorter ones would sound chopped
BRACKETS = {"(": ")", "[": "]", "（": "）", "【": "】", "《": "》"}
LONGEST_BRACKET = 120  # characters; within shorter ones split_clauses does not cut


@dataclass(frozen=True, slots=True)
class TextPiece:
    text: str
    pause_after_s: float  # if another piece follows


class TextPieces:
    """Gathers text and gives each piece as soon as nothing that may follow can change it.

    The pieces depend on the whole text alone, not on how it was cut when it arrived. Text without letters and digits
    joins the piece before; on a line of its own it is left out, as there is nothing to speak. With `cleaning`, what is
    nothing but markup joins the piece after it.
    """

    def __init__(self, granularity: Granularity, *, cleaning: bool = False) -> None:
        self._granularity = granularity
        self._cleaning = cleaning
        self._markup = ""  # of paragraphs in which there was nothing to say
        self._paragraph = 0  # the first not yet given completely
        self._given = 0  # characters of that paragraph
        self.text = ""

    def add(self, text: str) -> list[TextPiece]:
        self.text += text
        return [] if self._granularity == "none" else self._cut(complete=False)

    def finish(self) -> list[TextPiece]:
        """The rest; empty where nothing in it can be spoken."""
        if self._granularity == "none":
            return [TextPiece(self.text, 0.0)] if is_speakable(self.text) else []
        return self._cut(complete=True)

    def _cut(self, *, complete: bool) -> list[TextPiece]:
        paragraphs = split_paragraphs(self.text)
        pieces: list[TextPiece] = []
        for number in range(self._paragraph, len(paragraphs)):
            grows = number + 1 == len(paragraphs) and not complete
            pieces += self._cut_paragraph(paragraphs[number], grows=grows)
            if not grows:
                if is_speakable(markup := paragraphs[number][self._given :]):
                    self._markup += markup + "\n"
                self._paragraph, self._given = number + 1, 0
        return pieces

    def _cut_paragraph(self, paragraph: str, *, grows: bool) -> list[TextPiece]:
        clauses = split_clauses(paragraph)
        certain = len(paragraph)
        if grows:
            clauses, certain = clauses[:-1], _undecided_bracket(paragraph)
        pieces: list[TextPiece] = []
        end = 0
        for clause in clauses:
            end += len(clause.text)
            if end > certain:
                break
            text = paragraph[self._given : end]
            if end > self._given and self._is_piece(text, clause.boundary):
                pieces.append(TextPiece((self._markup + text).strip(), PAUSE_S[clause.boundary]))
                self._given, self._markup = end, ""
        return pieces

    def _is_piece(self, text: str, boundary: Boundary) -> bool:
        if self._cleaning and not is_speakable(clean_text(text)):
            return False
        if boundary >= Boundary.SENTENCE:
            return True
        return self._granularity == "clause" and word_ends(text)[-1][1] >= FEWEST_WORDS


def _undecided_bracket(paragraph: str) -> int:
    """Where the first bracket opens of which it is still open whether it will close in time; else the length."""
    begin = max(0, len(paragraph) - LONGEST_BRACKET - 1)
    for place in range(begin, len(paragraph)):
        closing = BRACKETS.get(paragraph[place])
        rest = paragraph[place + 1 :]
        if closing and closing not in rest and paragraph[place] not in rest:
            return place
    return len(paragraph)
