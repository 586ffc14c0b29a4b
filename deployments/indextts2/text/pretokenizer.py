"""Spaces around every CJK character and upper case, as the vocabulary expects (indextts2-front.md 10.3)."""

from __future__ import annotations

import re

_CJK = re.compile(
    "([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)


def pretokenize(text: str) -> str:
    items = (item.strip().upper() for item in _CJK.split(text.strip()))
    return " ".join(item for item in items if item)
