"""A text as IndexTTS-2.5 is given it where its published reading is not asked for: numbers, dates and signs in words by
the rules that all models share, and nothing in it that would be dropped or torn."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from deployments.indextts2.text.annotations import SPAN, mark_readings, unclear_readings
from deployments.indextts2.text.japanese import JapaneseWords
from deployments.indextts2.text.normalizer import Normalizer, hide_annotations, map_characters, restore
from deployments.indextts2.text.published_reading import cased, unreadable
from deployments.indextts2.text.route import reads_chinese
from deployments.indextts2.text.spelling import DASHES, QUOTES
from deployments.text.chinese.numbers import spell_chinese_numbers
from deployments.text.foreign_numbers import spell_numbers
from deployments.text.glossary import Glossary
from deployments.text.scripts import HAN

_HAN = re.compile(f"[{HAN}]")
_NARROW_KANA = re.compile("[\uff66-\uff9f]+")
_WIDE = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
}
_MARKS = str.maketrans({**dict.fromkeys(DASHES, "-"), **dict.fromkeys(QUOTES, "'"), "‥": "…"})


@dataclass(frozen=True, slots=True)
class ReadText:
    text: str
    warnings: tuple[str, ...] = ()


class MultilingualReader:
    """May be shared by threads."""

    def __init__(self, normalizer: Normalizer, glossary: Glossary, japanese: JapaneseWords) -> None:
        self._normalizer = normalizer
        self._glossary = glossary
        self._japanese = japanese

    def read(self, text: str, language: str) -> ReadText:
        """A few sentences. Raises InvalidRequest when the Chinese grammar fails, which would give nothing to speak."""
        unclear = unclear_readings(text)
        text = text.translate(_WIDE)
        read = self._chinese_or_english if language in ("zh", "en") else self._other
        text = read(text, language)
        text = mark_readings(cased(text.translate(_MARKS), language))
        if language == "ja":
            text = self._in_words(text)
        return ReadText(text, tuple(f"{given} is neither pinyin, CMU phonemes nor kana" for given in unclear))

    def _chinese_or_english(self, text: str, language: str) -> str:
        if not reads_chinese(text, language):
            return self._normalizer.english(text).text
        normalized = self._normalizer(spell_chinese_numbers(text) if _HAN.search(text) else text)
        if normalized.fst_failed and normalized.route == "zh":
            raise unreadable()
        return normalized.text

    def _other(self, text: str, language: str) -> str:
        text, annotations = hide_annotations(_NARROW_KANA.sub(_widened, text))
        text = spell_numbers(self._glossary.apply(text, language), language)
        return restore(map_characters(text, chinese=False), annotations)

    def _in_words(self, text: str) -> str:
        """Readings between marks stay in one piece."""
        parts = SPAN.split(text)
        spans = [span.group() for span in SPAN.finditer(text)]
        words = [self._japanese.part(part).strip() for part in parts]
        together = (piece for pair in zip(words, [*spans, ""], strict=True) for piece in pair)
        return " ".join(piece for piece in together if piece)


def _widened(kana: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", kana.group())
