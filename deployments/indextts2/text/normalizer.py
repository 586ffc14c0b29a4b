"""The normaliser of IndexTTS2: a text as the model was taught to read it (indextts2-front.md 10.2)."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

from deployments.indextts2.text.charmap import map_characters
from deployments.indextts2.text.glossary import Glossary
from deployments.indextts2.text.pinyin import correct_pinyin, find_pinyin
from deployments.indextts2.text.placeholders import hide, letters, longest_first, restore
from deployments.indextts2.text.route import Route, language_route
from deployments.text.fst import TextFst, WetextFst

log = logging.getLogger(__name__)

_ANNOTATION = re.compile(r"<[^|>\n]+\|[^>\n]+>")
_CONTRACTION = re.compile(r"(what|where|who|which|how|there|here|it|he|she|that|this)'s", re.IGNORECASE)
_TECHNICAL = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)+")
_NAME = re.compile(r"[\u4e00-\u9fff]+(?:[-·—][\u4e00-\u9fff]+){1,2}")
_HYPHEN = re.compile(r"\s*<H>\s*")


@dataclass(frozen=True)
class NormalizedText:
    text: str
    route: Route
    fst_failed: bool = False


class Normalizer:
    """Holds no state between calls; may be shared by threads."""

    def __init__(self, glossary: Glossary | None = None, fst: TextFst | None = None) -> None:
        self._glossary = glossary or Glossary()
        self._fst = fst or WetextFst()

    def __call__(self, text: str) -> NormalizedText:
        """When the FST grammar fails, Chinese text comes back empty and English text with its numbers as
        written: that is the published behaviour, and `fst_failed` says so."""
        text, annotations = _hide_annotations(text)
        route = language_route(text)
        text = self._glossary.apply(_CONTRACTION.sub(r"\1 is", text), route)
        try:
            text, failed = self._through_fst(text, route), False
        except Exception as error:  # the grammars raise whatever they like, AssertionError included
            log.warning("the %s text grammar failed on %r: %r", route, text[:200], error)
            text, failed = "" if route == "zh" else text, True
        text = map_characters(text, chinese=route == "zh")
        return NormalizedText(restore(text, annotations), route, failed)

    def _through_fst(self, text: str, route: Route) -> str:
        if route == "zh":
            text = text.rstrip()
        terms = longest_first(_TECHNICAL.findall(text))
        for term in terms:
            text = text.replace(term, term.replace("-", "<H>"))
        pinyin: dict[str, str] = {}
        names: dict[str, str] = {}
        if route == "zh":
            text, pinyin = hide(text, find_pinyin(text), "<pinyin_{}>")
            text, names = hide(text, _NAME.findall(text), "<n_{}>")
        text = restore(self._fst(text, route), names)
        text = restore(text, {mark: correct_pinyin(syllable) for mark, syllable in pinyin.items()})
        return _HYPHEN.sub("-", text) if terms else text


def _hide_annotations(text: str) -> tuple[str, dict[str, str]]:
    """`<word|reading>` is for the model itself: no step may touch it."""
    hidden: dict[str, str] = {}

    def hide_one(match: re.Match[str]) -> str:
        placeholder = f"PRONPLACEHOLDER{letters(len(hidden))}PRONPLACEHOLDER"
        hidden[placeholder] = match.group()
        return placeholder

    return _ANNOTATION.sub(hide_one, text), hidden
