"""Groups of sentences: what of a text is read and cut at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from deployments.text.clauses import Boundary, Clause, split_clauses
from deployments.text.connectives import cut_places, hard_cut

_GROUP_CHARS = 300
_ANNOTATION_CHARS = 100  # that a word with its reading may have


def sentence_groups(paragraph: str) -> list[str]:
    """Whole sentences, as many as stay within `_GROUP_CHARS`; the first alone, so that audio starts early."""
    groups: list[str] = []
    closed = True  # does the last group end with a sentence?
    for clause in (part for whole in split_clauses(paragraph) for part in _parts(whole)):
        full = len(groups) < 2 or len(groups[-1]) + len(clause.text) > _GROUP_CHARS
        if closed and full:
            groups.append(clause.text)
        else:
            groups[-1] += clause.text
        inside_annotation = groups[-1].rfind("<") > groups[-1].rfind(">")
        closed = clause.boundary >= Boundary.SENTENCE and not inside_annotation
    return [group.strip() for group in groups] or [paragraph]


def _parts(clause: Clause) -> Iterator[Clause]:
    """A clause that is longer than a group in parts, because the grammars take a second for a thousand characters, in
    which no other thread runs. Between words if it has any, else anywhere."""
    text = clause.text
    while len(text) > _GROUP_CHARS:
        places = [
            (-rank, place) for place, rank in cut_places(text[:_GROUP_CHARS]) if 2 * place > _GROUP_CHARS
        ]
        place = max(places)[1] if places else hard_cut(text, _GROUP_CHARS)
        if place is None:
            break
        annotation = text.rfind("<", place - _ANNOTATION_CHARS, place)
        if annotation > 0 and ">" not in text[annotation:place]:
            place = annotation
        yield Clause(text[:place], Boundary.SENTENCE)
        text = text[place:]
    yield replace(clause, text=text)
