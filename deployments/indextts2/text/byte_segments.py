"""Text into segments that fit: as IndexTTS-2.5 does it (indextts2.5-delta.md 2.2), and without words cut in two."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from deployments.indextts2.text.annotations import SPAN
from deployments.text.connectives import cut_places, hard_cut
from deployments.text.cuts import TORN
from deployments.text.scripts import HAN, KANA, is_speakable

Fits = Callable[[str], bool]

_PART = re.compile("[^，。！？、；：,.!?;:\n]*[，。！？、；：,.!?;:\n]|[^，。！？、；：,.!?;:\n]+")
# Where a speaker pauses: after marks, and the quotes that close with them, unless a word or number goes on.
_PAUSE = re.compile(rf"[,.!?;:…，。！？；：、،؟؛]+['’”]*(?:(?=\s)|(?=[{HAN}{KANA}<])(?<!\d.))")
_ENDS_IN_PAUSE = re.compile(r"[,.!?;:…，。！？；：、،؟؛-]['’”]*\s*$")
# What a cut costs by its rank (cut_places), as a share of the text that it may lie away from the middle instead.
_COSTS = (0.0, 0.1, 0.2, 0.6)


def published_segments(text: str, fits: Fits) -> list[str]:
    """Put together they are the text. A reading between marks stays whole, whatever its length."""
    if fits(text):
        return [text]
    return _joined((part for piece in _pieces(text) for part in _by_character(piece, fits)), fits)


def _pieces(text: str) -> Iterator[str]:
    at = 0
    for span in SPAN.finditer(text):
        yield from _PART.findall(text[at : span.start()])
        yield span.group()
        at = span.end()
    yield from _PART.findall(text[at:])


def _by_character(piece: str, fits: Fits) -> Iterator[str]:
    if SPAN.fullmatch(piece) or fits(piece):
        yield piece
        return
    part = ""
    for char in piece:
        if part and not fits(part + char):
            yield part
            part = ""
        part += char
    yield part


def segments_of_words(text: str, fits: Fits) -> list[str]:
    """What a speaker would say in one breath, as much as fits, without spaces around it. What has no pause is cut
    between words, near its middle, if possible at a conjunction; only a word that does not fit is cut itself."""
    if fits(text):
        return [text.strip()]
    parts = (part for clause in _clauses(text) for part in _cut(clause, fits))
    return [segment.strip() for segment in _joined(parts, fits)]


def ends_in_pause(segment: str) -> bool:
    return _ENDS_IN_PAUSE.search(segment) is not None


def _clauses(text: str) -> Iterator[str]:
    """Each with something to say."""
    spans = _spans(text)
    at = 0
    for pause in _PAUSE.finditer(text):
        end = pause.end()
        if _inside(end, spans) or not is_speakable(text[at:end]) or not is_speakable(text[end:]):
            continue
        yield text[at:end]
        at = end
    yield text[at:]


def _cut(clause: str, fits: Fits) -> Iterator[str]:
    if fits(clause):
        yield clause
        return
    spans, middle = _spans(clause), len(clause) / 2
    ranks = {place: rank for place, rank in cut_places(clause) if not _inside(place, spans)}
    if not ranks:
        torn = hard_cut(clause, len(clause) // 2)
        if torn is None or _inside(torn, spans):
            yield clause
            return
        ranks = {torn: TORN}
    best = min(ranks, key=lambda place: (_COSTS[ranks[place]] + abs(place - middle) / len(clause), place))
    yield from _cut(clause[:best], fits)
    yield from _cut(clause[best:], fits)


def _joined(parts: Iterable[str], fits: Fits) -> list[str]:
    segments: list[str] = []
    for part in parts:
        if segments and fits(segments[-1] + part):
            segments[-1] += part
        else:
            segments.append(part)
    return segments


def _spans(text: str) -> list[tuple[int, int]]:
    return [span.span() for span in SPAN.finditer(text)]


def _inside(place: int, spans: list[tuple[int, int]]) -> bool:
    return any(start < place < end for start, end in spans)
