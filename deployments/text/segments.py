"""Segments for streaming models: the first one short so that audio starts early, later ones longer."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deployments.text.clauses import Boundary, Clause, split_clauses, split_paragraphs
from deployments.text.connectives import best_cut, hard_cut
from deployments.text.scripts import is_speakable, spoken_width, word_ends

PAUSE_S: dict[Boundary, float] = {
    Boundary.NONE: 0.0,
    Boundary.COMMA: 0.12,
    Boundary.CLAUSE: 0.2,
    Boundary.SENTENCE: 0.3,
    Boundary.PARAGRAPH: 0.6,
}
# A first segment below this many words gains too little time to make the next one.
_FEWEST_FIRST_WORDS = 2
# Clauses below this width are packed together however short the first segment was.
_LEAST_WIDTH = 60
# A sentence or clause that exceeds the limit by no more than this factor stays whole.
_TOLERANCE = 1.5


@dataclass(frozen=True)
class Segment:
    text: str
    boundary: Boundary
    pause_after_s: float


def split_for_streaming(
    text: str,
    *,
    first_words: int = 8,
    first_words_max: int = 12,
    max_chars: int = 200,
    growth: float = 2.0,
) -> list[Segment]:
    """Segments in order that together are the text, but for whitespace; empty for a text without letters and
    digits.

    The first is the first clause, cut in two only if it has more than `first_words_max` words (then near
    `first_words`, at a conjunction if there is one). Later ones hold whole sentences where they fit; each
    may be `growth` times as long as the one before, up to `max_chars`. Lengths are in Latin characters; a
    Chinese character counts as three because it takes as long to speak. No segment has more than `max_chars`
    characters, save for a run of punctuation. The pause after the last segment is 0;
    `PAUSE_S[segment.boundary]` is what it would be.
    """
    if not 0 < first_words <= first_words_max or max_chars < 20 or growth < 1:
        raise ValueError("needs 0 < first_words <= first_words_max, max_chars >= 20, growth >= 1")
    clauses = [clause for paragraph in _speakable_paragraphs(text) for clause in split_clauses(paragraph)]
    clauses.reverse()  # the next clause is at the end, where pop and append are cheap
    pieces: list[Clause] = []
    limit = min(_LEAST_WIDTH, max_chars)
    while clauses:
        if pieces:
            piece = _next_piece(clauses, limit, max_chars)
        else:
            piece = _first_piece(clauses, first_words, first_words_max, max_chars)
        limit = min(max_chars, max(limit, int(growth * spoken_width(piece.text))))
        pieces.append(piece)
    segments = [Segment(piece.text.strip(), piece.boundary, PAUSE_S[piece.boundary]) for piece in pieces]
    return [*segments[:-1], replace(segments[-1], pause_after_s=0.0)] if segments else []


def _speakable_paragraphs(text: str) -> list[str]:
    """Paragraphs; dividers such as "***" join the one before (or after, at the start)."""
    paragraphs: list[str] = []
    for paragraph in split_paragraphs(text):
        if paragraphs and (not is_speakable(paragraph) or not is_speakable(paragraphs[-1])):
            paragraphs[-1] += " " + paragraph
        else:
            paragraphs.append(paragraph)
    return paragraphs


def _first_piece(clauses: list[Clause], words: int, words_max: int, max_chars: int) -> Clause:
    count = 1
    total = _word_count(clauses[-1].text)
    while total < _FEWEST_FIRST_WORDS and clauses[-count].boundary < Boundary.SENTENCE:
        count += 1
        total += _word_count(clauses[-count].text)
    _join_top(clauses, count)
    if total <= words_max and spoken_width(clauses[-1].text) <= max_chars:
        return clauses.pop()
    ends = word_ends(clauses[-1].text)
    low, best, high = (
        min(max_chars, next((end for end, seen in ends if seen >= wanted), max_chars))
        for wanted in (_FEWEST_FIRST_WORDS, words, words_max)
    )
    return _cut_top(clauses, low, best, high, max_chars)


def _next_piece(clauses: list[Clause], limit: int, max_chars: int) -> Clause:
    """Whole sentences up to `limit`; else one sentence, else whole clauses, else a clause cut inside."""
    fits: dict[Boundary, int] = {}
    width, whole = 0, min(max_chars, int(limit * _TOLERANCE))
    for count, clause in enumerate(reversed(clauses), start=1):
        allowed = limit if Boundary.SENTENCE in fits else whole
        if width + len(clause.text) > allowed:  # spares measuring a very long clause again and again
            break
        width += spoken_width(clause.text)
        if width > allowed:
            break
        if width <= limit or clause.boundary >= Boundary.SENTENCE:
            fits[min(clause.boundary, Boundary.SENTENCE)] = count
        if clause.boundary is Boundary.PARAGRAPH:
            break
    for boundary in (Boundary.SENTENCE, Boundary.CLAUSE, Boundary.COMMA):
        if boundary in fits:
            _join_top(clauses, fits[boundary])
            return clauses.pop()
    text = clauses[-1].text
    if len(text) <= whole and spoken_width(text) <= whole:
        return clauses.pop()
    chars = limit * limit // max(limit, spoken_width(text[:limit]))
    return _cut_top(clauses, chars // 2, int(chars * 0.85), chars, max_chars)


def _word_count(text: str) -> float:
    return word_ends(text)[-1][1]


def _join_top(clauses: list[Clause], count: int) -> None:
    """The next `count` clauses become one."""
    parts = clauses[-count:][::-1]
    clauses[-count:] = [Clause("".join(part.text for part in parts), parts[-1].boundary)]


def _cut_top(clauses: list[Clause], low: int, best: int, high: int, max_chars: int) -> Clause:
    """Takes the front of the next clause, cut within [low, high] characters where possible."""
    clause = clauses.pop()
    place = best_cut(clause.text, low, best, high)
    if (place or len(clause.text)) > max_chars:
        place = hard_cut(clause.text, min(high, max_chars))
    if place is None or not is_speakable(clause.text[:place]) or not is_speakable(clause.text[place:]):
        return clause
    clauses.append(Clause(clause.text[place:], clause.boundary))
    return Clause(clause.text[:place], Boundary.NONE)
