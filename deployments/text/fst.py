"""The FST text normaliser: numbers, dates, money and units as words (indextts2-front.md 10.2, step 7)."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any, Literal, Protocol

Grammar = Literal["zh", "en"]
_import_lock = threading.Lock()


class TextFst(Protocol):
    def __call__(self, text: str, language: Grammar) -> str:
        """Raises any Exception when the grammar has no path for the text."""


@cache
def _grammar(language: Grammar) -> Any:
    # 45 MB of grammars are read by this import (0.2 s), not by a call: keep it out of module level.
    from wetext import Normalizer  # noqa: PLC0415

    return Normalizer(lang=language, operator="tn", remove_erhua=False, remove_interjections=False)


class WetextFst:
    """WeText grammars of the `wetext` package, read at the first use and shared by the process."""

    def __call__(self, text: str, language: Grammar) -> str:
        with _import_lock:
            grammar = _grammar(language)
        return grammar.normalize(text)
