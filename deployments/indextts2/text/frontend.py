"""The text front end of IndexTTS2: a text in, segments of token ids out (indextts2-front.md 10)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from deployments.core.errors import InvalidRequest
from deployments.indextts2.text.groups import sentence_groups
from deployments.indextts2.text.normalizer import NormalizedText, Normalizer
from deployments.indextts2.text.route import reads_chinese
from deployments.indextts2.text.segment import TextSegment
from deployments.indextts2.text.segments import (
    COMMAS,
    HYPHENS,
    SENTENCE_ENDS,
    split_at_words,
    split_tokens,
)
from deployments.indextts2.text.spelling import spell_with
from deployments.indextts2.text.tokenizer import BpeTokenizer, pretokenize
from deployments.text.chinese.numbers import spell_chinese_numbers
from deployments.text.clauses import split_paragraphs
from deployments.text.fst import TextFst
from deployments.text.glossary import Glossary, Reading
from deployments.text.language import detect_language
from deployments.text.scripts import HAN

_PAUSES = SENTENCE_ENDS | COMMAS | HYPHENS | {"'", "▁'", "…", "▁…", "▁!"}
_HAN = re.compile(f"[{HAN}]")


class IndexTextFrontend:
    """Holds no state between calls; may be shared by threads."""

    def __init__(
        self,
        bpe_model: Path,
        glossary: Mapping[str, Reading] | Path | None = None,
        fst: TextFst | None = None,
        languages: Sequence[str] | None = None,
    ) -> None:
        """`languages` that the checkpoint speaks (ISO 639-1); None: what its vocabulary tells.

        Raises CheckpointError naming the file when the tokenizer or the glossary cannot be read."""
        terms = Glossary.load(glossary) if isinstance(glossary, Path) else Glossary(glossary)
        self.tokenizer = BpeTokenizer(bpe_model)
        self._normalizer = Normalizer(terms, fst)
        self.languages = tuple(languages or self.tokenizer.languages)

    def normalize(self, text: str) -> str:
        return self._normalizer(text).text

    def tokens(self, text: str) -> list[str]:
        return self._tokens(text)[0]

    def language_of(self, text: str) -> str:
        return detect_language(text)

    def published(self, text: str, max_tokens: int, *, language: str) -> list[TextSegment]:
        """`segments` of whatever language: the published model is not told it."""
        return self.segments(text, max_tokens)

    def segments(
        self, text: str, max_tokens: int = 120, quick_tokens: int = 0, *, language: str | None = None
    ) -> list[TextSegment]:
        """The published segmentation of the whole text, line breaks included; none for a text without tokens.

        With the `language` of the document English is not read as published but as every model reads it.
        Raises InvalidRequest when the Chinese grammar cannot read the text, which otherwise would be spoken
        as nothing.
        """
        return self._segments(
            text, partial(split_tokens, max_tokens=max_tokens, quick_tokens=quick_tokens), language
        )

    def _segments(
        self, text: str, cut: Callable[[list[str]], list[list[str]]], language: str | None
    ) -> list[TextSegment]:
        tokens, normalized = self._tokens(text, language)
        warnings: list[str] = []
        if normalized and normalized.fst_failed:
            if normalized.route == "zh":
                raise InvalidRequest(
                    "The text holds a sign that the Chinese normaliser cannot read; write it as words.",
                    param="input",
                    code="input_not_speakable",
                )
            warnings.append("numbers, dates and units could not be normalised and are spoken as written")
        split = cut(tokens)
        return [
            self._segment(pieces, warnings, last=index == len(split) - 1)
            for index, pieces in enumerate(split)
        ]

    def iter_segments(
        self, text: str, max_tokens: int = 120, quick_tokens: int = 0, *, language: str = "en"
    ) -> Iterator[TextSegment]:
        """Segments of whole words, made while they are consumed, from a few sentences at a time.

        For streaming: the grammars take up to 0.2 ms a character and hold the GIL, so that a long text in one
        piece would delay the first audio and stall all threads. It also heals line breaks: the English
        grammar fails on them. Segments never join sentences of two groups, and each group has its own
        language route. `quick_tokens` counts over the whole text.
        """
        spoken = 0
        for paragraph in split_paragraphs(text):
            groups = sentence_groups(paragraph)
            for index, group in enumerate(groups):
                readable = spell_chinese_numbers(group) if _HAN.search(group) else group
                inside = index < len(groups) - 1
                quick = max(0, quick_tokens - spoken)
                cut = partial(split_at_words, max_tokens=max_tokens, quick_tokens=quick)
                for segment in self._segments(readable, cut, language):
                    spoken += len(segment.ids)
                    yield replace(segment, ends_paragraph=False) if inside else segment

    def _tokens(self, text: str, language: str | None = None) -> tuple[list[str], NormalizedText | None]:
        if not text:
            return [], None
        if self._in_english(text, language):
            english = self._normalizer.english(text)
            spelled = spell_with(pretokenize(english.text), self.tokenizer.characters)
            return self.tokenizer.pieces(spelled), english
        if len(text.strip()) == 1:
            return self.tokenizer.pieces(text), None
        normalized = self._normalizer(text)
        return self.tokenizer.pieces(pretokenize(normalized.text)), normalized

    def _in_english(self, text: str, language: str | None) -> bool:
        """A checkpoint without Chinese has no published reading of its own."""
        if "zh" not in self.languages:
            return True
        return language is not None and not reads_chinese(text, language)

    def _segment(self, pieces: list[str], warnings: list[str], *, last: bool) -> TextSegment:
        segment = TextSegment(tuple(pieces), tuple(self.tokenizer.ids(pieces)), ends_paragraph=last)
        found = list(warnings)
        unknown = self.tokenizer.unknown_characters(pieces)
        if unknown:
            found.append("the model has no reading for " + " ".join(unknown))
        if not last and pieces[-1] not in _PAUSES:
            found.append(f"cut after {len(pieces)} tokens without a pause; shorter sentences sound better")
        return replace(segment, warnings=tuple(found))
