"""The language route of IndexTTS2: which grammar reads a text (indextts2-front.md 10.2, step 2)."""

from __future__ import annotations

import re
from typing import Literal

from deployments.indextts2.text.pinyin import has_pinyin

Route = Literal["zh", "en"]

_HAN = re.compile(r"[\u4e00-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")
_EMAIL = re.compile(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.[A-Za-z]+")


def is_email(text: str) -> bool:
    return _EMAIL.fullmatch(text) is not None


def language_route(text: str) -> Route:
    """Chinese is also the route of texts without any Latin letter, as published."""
    chinese = _HAN.search(text) or not _LATIN.search(text) or is_email(text) or has_pinyin(text)
    return "zh" if chinese else "en"
