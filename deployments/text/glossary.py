"""The glossary: terms and how they are read, by language (indextts2-front.md 10.2, step 4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import yaml

from deployments.core.errors import CheckpointError

Reading = str | Mapping[str, str]

_FORM = "write TERM: READING or TERM: {zh: READING, en: READING}, quoting what looks like a number"
LANGUAGES = ("zh", "en")


class Glossary:
    def __init__(
        self,
        terms: Mapping[str, Reading] | None = None,
        source: str = "the glossary",
        languages: Collection[str] = LANGUAGES,
    ) -> None:
        """`languages`: those that a reading may be for; a reading without a language is for all. Raises CheckpointError
        naming the source and the entry that is wrong."""
        terms = terms or {}
        for term, reading in terms.items():
            readings = reading if isinstance(reading, Mapping) else {"zh": reading}
            known = set(readings) <= set(languages) and all(
                isinstance(said, str) for said in readings.values()
            )
            if not known or not isinstance(term, str) or not term:
                raise CheckpointError(f"{source}: {term!r}: {reading!r} is no term with a reading; {_FORM}")
        self._terms = [
            (re.compile(re.escape(term), re.IGNORECASE), term, terms[term]) for term in longest_first(terms)
        ]

    @classmethod
    def load(cls, path: Path, languages: Collection[str] = LANGUAGES) -> Glossary:
        """Reads a YAML file; raises CheckpointError naming the file and the entry that is wrong."""
        try:
            terms = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise CheckpointError(f"{path}: cannot be read as a glossary: {error}") from error
        if not isinstance(terms, dict):
            raise CheckpointError(f"{path}: holds {type(terms).__name__}, not terms; {_FORM}")
        return cls(terms, str(path), languages)

    def apply(self, text: str, language: str) -> str:
        """Every term, whatever its case, becomes its reading, or its own spelling if this language has none."""
        for pattern, term, reading in self._terms:
            said = reading if isinstance(reading, str) else reading.get(language, term)
            text = pattern.sub(said.replace("\\", r"\\"), text)
        return text


def longest_first(items: Iterable[str]) -> list[str]:
    """The distinct items in an order in which no item (`ng4`) tears one that holds it (`zhuang4`)."""
    return sorted(dict.fromkeys(items), key=len, reverse=True)
