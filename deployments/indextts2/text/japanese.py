"""Japanese cut into words, as IndexTTS-2.5 reads it (indextts2.5-delta.md 2, step 6)."""

from __future__ import annotations

import re
import threading
from functools import cached_property
from importlib.util import find_spec
from typing import Any

COMMAND = "pip install 'voicegraph[japanese]'"
_SPACES = re.compile("( +)")


class JapaneseWords:
    """MeCab with UniDic, read at the first use. May be shared by threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a tagger keeps what it works on in itself

    @staticmethod
    def installed() -> bool:
        return find_spec("fugashi") is not None and find_spec("unidic_lite") is not None

    def part(self, text: str) -> str:
        """Words as they are written, with one space between; runs of spaces stay."""
        return "".join(self._words(piece) if piece.strip() else piece for piece in _SPACES.split(text))

    def _words(self, text: str) -> str:
        with self._lock:
            return " ".join(word.surface for word in self._tagger(text))

    @cached_property
    def _tagger(self) -> Any:
        # Packages of the extra `japanese`; the dictionary has 250 MB, which are mapped.
        import unidic_lite  # noqa: PLC0415
        from fugashi import GenericTagger  # noqa: PLC0415

        directory = unidic_lite.DICDIR
        return GenericTagger(f'-r "{directory}/mecabrc" -d "{directory}"')
