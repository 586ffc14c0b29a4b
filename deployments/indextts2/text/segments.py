"""Tokens into segments of bounded length, quirks included (indextts2-front.md 10.4)."""

from __future__ import annotations

from collections.abc import Sequence

SENTENCE_ENDS = frozenset({".", "!", "?", "▁.", "▁?", "▁..."})  # "▁!" is not one of them
COMMAS = frozenset({",", "▁,"})
HYPHENS = frozenset({"-"})
_QUOTES = frozenset({"'", "▁'"})


def split_tokens(
    tokens: Sequence[str], max_tokens: int, quick_tokens: int = 0, ends: frozenset[str] = SENTENCE_ENDS
) -> list[list[str]]:
    """Segments of at most `max_tokens` (one more where a closing quote is repeated).

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
