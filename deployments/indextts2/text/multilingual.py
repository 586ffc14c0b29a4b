"""The text front end of IndexTTS-2.5: a text and its language in, segments of ids out (indextts2.5-delta.md 2)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from deployments.core.errors import InvalidRequest
from deployments.core.logs import logger
from deployments.indextts2.text.annotations import MARK_HAN, MARK_WORD
from deployments.indextts2.text.byte_segments import ends_in_pause, published_segments, segments_of_words
from deployments.indextts2.text.byte_tokenizer import ByteTokenizer
from deployments.indextts2.text.groups import sentence_groups
from deployments.indextts2.text.japanese import COMMAND, JapaneseWords
from deployments.indextts2.text.languages import SPOKEN, language_id, language_of
from deployments.indextts2.text.normalizer import Normalizer
from deployments.indextts2.text.published_reading import PublishedReader
from deployments.indextts2.text.reading import MultilingualReader
from deployments.indextts2.text.segment import TextSegment
from deployments.text.clauses import split_paragraphs
from deployments.text.fst import TextFst
from deployments.text.glossary import Glossary, Reading
from deployments.text.scripts import KANA, is_speakable

STOP = 1  # behind every segment; what the GPT is given of it is the prefix's business
# The ids 0 and 1 are `!` and `"` and also start and stop, so that the GPT's prefix drops them from a text. A full stop
# ends a sentence as well, and the model knows it.
_KEPT = {"!": ".", '"': "'"}
# Written in bytes by the vocabulary, and learnt so.
_LEARNT = re.compile(
    rf"[\x00-\x7f\u00c0-\u024f\u1e00-\u1eff{KANA}\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]"
)
Specials = Collection[str] | Literal["all"]


class MultilingualFrontend:
    """Holds no state between calls; may be shared by threads."""

    def __init__(
        self,
        vocabulary: Path,
        positions: int,
        glossary: Mapping[str, Reading] | Path | None = None,
        fst: TextFst | None = None,
        languages: Sequence[str] | None = None,
        japanese: JapaneseWords | None = None,
    ) -> None:
        """`positions`: of a text in the GPT's table, start and stop not counted. `languages` that the checkpoint speaks
        (ISO 639-1); None: the published ones.

        Raises CheckpointError naming the file when the vocabulary or the glossary cannot be read."""
        load = partial(Glossary.load, languages=SPOKEN)
        terms = load(glossary) if isinstance(glossary, Path) else Glossary(glossary, languages=SPOKEN)
        self.tokenizer = ByteTokenizer(vocabulary)
        self._positions = positions
        normalizer, japanese = Normalizer(terms, fst), japanese or JapaneseWords()
        self._published = PublishedReader(normalizer, japanese)
        self._reader = MultilingualReader(normalizer, terms, japanese)
        kept = {self.tokenizer.encode(mark)[0]: self.tokenizer.encode(by)[0] for mark, by in _KEPT.items()}
        self._kept = kept
        spoken = tuple(languages or SPOKEN)
        self._lacks_japanese = "ja" in spoken and not japanese.installed()
        self.languages = tuple(code for code in spoken if code != "ja" or not self._lacks_japanese)
        if self._lacks_japanese:
            logger.warning("Japanese is not spoken, because it needs more packages: %s", COMMAND)

    def language_of(self, text: str) -> str:
        """Raises InvalidRequest for Japanese where the packages that it needs are missing."""
        return self._checked(language_of(text))

    def published(self, text: str, max_tokens: int, *, language: str) -> list[TextSegment]:
        """Read and cut as published, marks that the model is then not given included. `max_tokens` of a segment, its
        language counted."""
        read = self._published.read(text, self._checked(language.lower()))
        return self.cut(read, max_tokens, language=language)

    def cut(self, read: str, max_tokens: int, *, language: str) -> list[TextSegment]:
        """The published segments of a text as the model reads it."""
        cut = _Cut(self.tokenizer, language.lower(), min(max_tokens, self._positions), "all")
        return [self._segment(segment, cut) for segment in published_segments(read, cut.fits)]

    def iter_segments(self, text: str, max_tokens: int, *, language: str) -> Iterator[TextSegment]:
        """Segments of whole words, made while they are consumed, from a few sentences at a time: the grammars take up
        to 0.2 ms a character and hold the GIL. Raises InvalidRequest where nothing is left to speak."""
        language = self._checked(language.lower())
        marks = (f"<|{language}|>", MARK_WORD, MARK_HAN)
        cut = _Cut(self.tokenizer, language, min(max_tokens, self._positions), marks)
        paragraphs = [part for part in split_paragraphs(text) if is_speakable(part)]
        spoken = False
        for paragraph in paragraphs:
            groups = sentence_groups(paragraph)
            for index, group in enumerate(groups):
                for segment in self._of_group(group, cut, closes=index == len(groups) - 1):
                    spoken = True
                    yield segment
        if not spoken:
            raise InvalidRequest(
                "Nothing in the input can be spoken; send at least one word.",
                param="input",
                code="input_not_speakable",
            )

    def _of_group(self, group: str, cut: _Cut, *, closes: bool) -> Iterator[TextSegment]:
        read = self._reader.read(group, cut.language)
        segments = [part for part in segments_of_words(read.text, cut.fits) if is_speakable(part)]
        for index, part in enumerate(segments):
            last = index == len(segments) - 1
            warnings = [*read.warnings, *self._warnings(part, inside=not last)]
            yield self._segment(part, cut, self._kept, warnings, ends_paragraph=last and closes)

    def _segment(
        self,
        text: str,
        cut: _Cut,
        kept: Mapping[int, int] | None = None,
        warnings: Sequence[str] = (),
        *,
        ends_paragraph: bool = False,
    ) -> TextSegment:
        ids = [(kept or {}).get(id_, id_) for id_ in cut.encode(cut.prefix + text)]
        if len(ids) > self._positions:
            raise InvalidRequest(
                f"A part of the text without a place to cut it has {len(ids)} tokens; the model takes"
                f" {self._positions}. Shorten {text[:40]!r}.",
                param="input",
                code="input_too_long",
            )
        return TextSegment(
            (text,),
            (*ids, STOP),
            ends_paragraph=ends_paragraph,
            warnings=tuple(warnings),
            language_id=language_id(cut.language),
        )

    def _warnings(self, text: str, *, inside: bool) -> Iterator[str]:
        unknown = [char for char in dict.fromkeys(text) if not self._is_known(char)]
        if unknown:
            yield "the model has no reading for " + " ".join(unknown)
        if inside and not ends_in_pause(text):
            yield "cut without a pause, because a sentence was too long; shorter sentences sound better"

    def _is_known(self, char: str) -> bool:
        return bool(_LEARNT.match(char)) or self.tokenizer.is_one_token(char)

    def _checked(self, language: str) -> str:
        if language == "ja" and self._lacks_japanese:
            raise InvalidRequest(
                f"Japanese needs packages that this server lacks; whoever runs it can add them: {COMMAND}",
                param="input",
                code="unsupported_language",
            )
        return language


class _Cut:
    """The prefix of a language, and what fits behind it."""

    def __init__(self, tokenizer: ByteTokenizer, language: str, most: int, specials: Specials) -> None:
        self.language = language
        self.prefix = f"<|{language}|> "
        self._tokenizer = tokenizer
        self._specials = specials
        self._budget = max(1, most - len(self.encode(self.prefix)))

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, self._specials)

    def fits(self, text: str) -> bool:
        return len(self.encode(text)) <= self._budget
