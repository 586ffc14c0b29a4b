"""Tokens into segments of bounded length: as published (indextts2-front.md 10.4), and without words cut in two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from deployments.indextts2.text.tokenizer import WORD_START
from deployments.text.connectives import cut_places
from deployments.text.cuts import TORN
from deployments.text.scripts import is_unspaced

SENTENCE_ENDS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})  # "▁!" is not one of them
COMMAS = frozenset({",", "▁,"})
HYPHENS = frozenset({"-"})
_QUOTES = frozenset({"'", "▁'"})
# What a cut costs by its rank (cut_places), as a share of the text that it may lie away from the middle instead.
_COSTS = (0.0, 0.1, 0.2, 0.6)
_ROOM = 0.8  # of the limit is used on average, so that cuts have places to choose from


def split_tokens(
    tokens: Sequence[str], max_tokens: int, quick_tokens: int = 0, ends: frozenset[str] = SENTENCE_ENDS
) -> list[list[str]]:
    """The published segments, quirks included: at most `max_tokens` each (one more where a closing quote is repeated).

    `quick_tokens` keeps the first segments short: full merging starts after more than that many tokens.
    """
    pieces: list[list[str]] = []
    piece: list[str] = []
    for index, token in enumerate(tokens):
        piece.append(token)
        if token in COMMAS and not ends & COMMAS:
            pieces += split_tokens(piece, max_tokens, quick_tokens, COMMAS)
        elif token in HYPHENS and not ends & HYPHENS:
            pieces += split_tokens(piece, max_tokens, quick_tokens, HYPHENS)
        elif len(piece) > max_tokens:
            pieces += [piece[start : start + max_tokens] for start in range(0, len(piece), max_tokens)]
        elif token in ends and len(piece) > 2:
            # The quote stays in the stream as well: the published model speaks it twice.
            if index + 1 < len(tokens) and tokens[index + 1] in _QUOTES:
                piece.append(tokens[index + 1])
            pieces.append(piece)
        else:
            continue
        piece = []
    return _merge([*pieces, piece], max_tokens, quick_tokens)


def _merge(pieces: list[list[str]], max_tokens: int, quick_tokens: int) -> list[list[str]]:
    segments: list[list[str]] = []
    total = 0
    for piece in filter(None, pieces):
        total += len(piece)
        together = len(segments[-1]) + len(piece) if segments else max_tokens + 1
        if (together <= max_tokens and total > quick_tokens) or together <= max_tokens / 2:
            segments[-1] = segments[-1] + piece
        else:
            segments.append(piece)
    return segments


def split_at_words(tokens: Sequence[str], max_tokens: int, quick_tokens: int = 0) -> list[list[str]]:
    """Segments of at most `max_tokens` that are the tokens when put together.

    They end where the published ones do, if no word goes on there; what has no such place is cut between words, near
    its middle, if possible at a conjunction. Only a word longer than the limit is cut itself. `quick_tokens` as in
    split_tokens.
    """
    pieces: list[list[str]] = []
    piece: list[str] = []
    for index, token in enumerate(tokens):
        piece.append(token)
        follows = tokens[index + 1] if index + 1 < len(tokens) else WORD_START
        if not follows.startswith(WORD_START):
            continue
        # The mark may have a closing quote behind it.
        mark = piece[-2] if token in _QUOTES and len(piece) > 1 else token
        if mark in COMMAS or mark in HYPHENS or (mark in SENTENCE_ENDS and len(piece) > 2):
            pieces += _cut(piece, max_tokens)
            piece = []
    return _merge([*pieces, *_cut(piece, max_tokens)], max_tokens, quick_tokens)


def _cut(piece: list[str], max_tokens: int) -> list[list[str]]:
    if len(piece) <= max_tokens:
        return [piece]
    parts = math.ceil(len(piece) / (_ROOM * max_tokens))
    ranks = _word_starts(piece)
    left = parts // 2  # as many parts before the cut
    low, high = len(piece) - (parts - left) * max_tokens, left * max_tokens
    middle = len(piece) * left / parts
    inside = [place for place in ranks if low <= place <= high]
    if not inside:  # a long word is in the way: what is before it, or after it, or a part of it
        starts = [*ranks, len(piece)]
        after = next((place for place in starts if place > high), len(piece))
        before = max((place for place in ranks if place < low), default=0)
        inside = [place for place in (before, after) if 0 < place < len(piece)] or [max_tokens]
    best = min(
        inside, key=lambda place: (_COSTS[ranks.get(place, TORN)] + abs(place - middle) / len(piece), place)
    )
    return [*_cut(piece[:best], max_tokens), *_cut(piece[best:], max_tokens)]


def _word_starts(piece: Sequence[str]) -> dict[int, int]:
    """The tokens that begin a word, the first aside, and what a cut before them is worth (cut_places)."""
    text = ""
    starts: dict[int, int] = {}  # by place in the text
    for index, token in enumerate(piece):
        body = token.removeprefix(WORD_START)
        if token.startswith(WORD_START) and index > 0:
            # Between Chinese characters the tokenizer was given spaces, which part connectives.
            if text and not (is_unspaced(text[-1]) and (not body or is_unspaced(body[0]))):
                text += " "
            starts.setdefault(len(text), index)
        text += body
    ranks = dict(cut_places(text))
    return {index: ranks.get(place, TORN) for place, index in starts.items()}
