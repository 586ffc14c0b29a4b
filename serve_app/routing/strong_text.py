"""Whether a text is written with strong feeling: by its signs alone, in microseconds and in any language."""

from __future__ import annotations

import re

SHOUTED = re.compile(r"[!！]\s*[!！]|[?？]\s*[!！]|[!！]\s*[?？]")
EXCLAMATION = re.compile(r"[!！]+")
SENTENCE_END = re.compile(r"[.!?。！？…]+(?=\s|$|[\"'”’」』)])|[。！？]")
WORD = re.compile(r"[^\W\d_]{2,}")
CAPITALS = re.compile(r"\b[A-ZÀ-ÖØ-Þ]{4,}\b")
EXCLAIMED_SHARE = 0.5  # of the sentences: more than that
CAPITAL_WORDS = 2  # in a row they are a name or an abbreviation less often
CAPITAL_SHARE = 0.3  # of the words


def is_strong(text: str) -> bool:
    """Doubled marks, most of the sentences exclaimed, or several words in capitals among others that are not.

    No more than that can be told without a model: sadness, irony and calm threats have no signs.
    """
    if SHOUTED.search(text):
        return True
    exclaimed = len(EXCLAMATION.findall(text))
    sentences = max(1, len(SENTENCE_END.findall(text)))
    if exclaimed > EXCLAIMED_SHARE * sentences:
        return True
    if text == text.upper():
        return False  # all in capitals, which says nothing
    words, capitals = len(WORD.findall(text)), len(CAPITALS.findall(text))
    return capitals >= max(CAPITAL_WORDS, CAPITAL_SHARE * words)
