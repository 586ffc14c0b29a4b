"""The text front end of VoxCPM: a text in, segments as the model reads them out (voxcpm.md 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.text.clauses import Boundary
from deployments.text.cuts import Cut, CutText, Segment
from deployments.text.scripts import is_speakable, is_unspaced
from deployments.voxcpm.text.reading import TextReader
from deployments.voxcpm.text.tokenizer import VoxCPMTokenizer, prepared

GOOD_PART = 0.5  # a cut at a better boundary is worth a segment of half the size
_END_MARKS = frozenset(".!?。！？…；;:：,，、—-~～\"'”’）)]】」』")
# What stands in parentheses before a text describes who speaks and how (version 2).
_DESCRIPTION = re.compile(r"\s*[(（]([^()（）]{1,300})[)）]\s*")
_PARENTHESES = re.compile(r"[()（）\s]+")


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """`text` as it is tokenised; one of no `tokens` holds nothing that the model can say, and is left out. `warnings`
    are for the client. Silence that the text itself asks for: `lead_s` before its first word, `pause_after_s` in place
    of the usual pause."""

    text: str
    tokens: int
    warnings: tuple[str, ...] = ()
    pause_after_s: float | None = None
    lead_s: float = 0.0


class VoxCPMTextFrontend:
    """Holds no state between calls; may be shared by threads."""

    def __init__(self, tokenizer: VoxCPMTokenizer, reader: TextReader | None = None) -> None:
        self._tokenizer = tokenizer
        self._reader = reader or TextReader()

    def segments(self, text: str, language: str, max_chars: int) -> Iterator[SpokenSegment]:
        """In order, made while they are consumed, each about `max_chars` wide in Latin characters at most."""
        cut_text = CutText(self._reader.whole(text, language), max_chars=max_chars)
        begin: Cut | None = None
        while cut_text.cuts and begin is not cut_text.cuts[-1]:
            end = _segment_end(cut_text, begin, max_chars)
            yield self._segment(cut_text.piece(begin, end), language)
            begin = end

    def _segment(self, piece: Segment, language: str) -> SpokenSegment:
        read = self._reader.segment(piece.text, language)
        text = prepared(read.text)
        unknown = self._tokenizer.unknown_characters(text)
        warnings = read.warnings
        if unknown:
            warnings = (*warnings, "the model has no reading for " + " ".join(unknown))
        tokens = len(self._tokenizer.encode(text))
        if not is_speakable("".join(char for char in text if char not in unknown)):
            tokens, warnings = 0, (*warnings, f"nothing in {piece.text!r} can be said; it is left out")
        pause_s = piece.pause_after_s if piece.pause_asked else None
        return SpokenSegment(text, tokens, warnings, pause_s, piece.lead_s)

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(prepared(text)))

    def transcript(self, text: str, language: str) -> str:
        """What is said in a recording, as the model reads it."""
        whole = self._reader.whole(text, language)
        return prepared(self._reader.segment(whole, language).text)


def joined(*texts: str) -> str:
    """Texts that are said one after the other: the model is given them without a mark between (voxcpm.md 3)."""
    together = ""
    for text in filter(None, (text.strip() for text in texts)):
        if not together:
            together = text
            continue
        unspaced = is_unspaced(together[-1]) or together[-1] in "。！？；，、："
        mark = "" if together[-1] in _END_MARKS else "。" if unspaced else "."
        together += mark + ("" if unspaced else " ") + text
    return together


def split_description(text: str) -> tuple[str, str]:
    """What describes the speaker before a text, and the text. Empty where nothing does, or nothing else is there."""
    found = _DESCRIPTION.match(text)
    if found is None or not is_speakable(text[found.end() :]) or not is_speakable(found[1]):
        return "", text
    return found[1].strip(), text[found.end() :]


def described(description: str, text: str) -> str:
    """`text` with what describes its speaker before it; the other way of `split_description`."""
    description = _PARENTHESES.sub(" ", description).strip()
    return f"({description}){text}" if description else text


def _segment_end(text: CutText, begin: Cut | None, max_chars: int) -> Cut:
    """The largest segment, or one at a better boundary that is not much smaller. It ends with its paragraph, and where
    a pause is asked for."""
    width = begin.width if begin else 0
    first = text.after(width)
    found = text.cuts[first : max(first + 1, text.after(width + max_chars))]
    for cut in found:
        if cut.asked_s is not None or cut.boundary is Boundary.PARAGRAPH:
            return cut
    large = [cut for cut in found if cut.width - width >= GOOD_PART * (found[-1].width - width)]
    for boundary in (Boundary.SENTENCE, Boundary.CLAUSE, Boundary.COMMA):
        if good := [cut for cut in large if cut.boundary >= boundary]:
            return good[-1]
    return min(large, key=lambda cut: (cut.rank, -cut.width))
