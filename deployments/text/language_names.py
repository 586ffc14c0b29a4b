"""What people write for a language (`en-US`, `zh_Hans`, `cmn`, `English`, `中文`) as a code of ISO 639-1."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.core import get_global, parse_locale

CODE_CHARS = 2  # of ISO 639-1
# CLDR writes these otherwise, or leaves the language to be guessed from the words.
FURTHER_NAMES = {
    **dict.fromkeys(
        ("mandarin", "mandarin chinese", "普通话", "普通話", "汉语", "漢語", "国语", "國語"), "zh"
    ),
    **dict.fromkeys(("castilian", "castellano"), "es"),
}


def language_code(written: str, served: Collection[str] = ()) -> str | None:
    """The ISO 639-1 code of a tag (BCP 47 or POSIX), an ISO 639-2 code or a name; None where it is none of these.

    Names are known in English for every language, and in the language itself for the codes `served`, which may be
    longer ones, too (`yue`). Regions and scripts are left out: no model is chosen by them.
    """
    name = " ".join(written.casefold().split("(")[0].split())
    for names in (_english_names(), *map(_own_names, served)):
        if name in names:
            return names[name]
    try:
        language = parse_locale(written.strip().replace("-", "_"))[0]
    except ValueError:
        return None
    code: str = get_global("language_aliases").get(language, language)
    code = code.split("_", maxsplit=1)[0]
    known = code in served or (len(code) == CODE_CHARS and code in Locale("en").languages)
    return code if known else None


@lru_cache(maxsize=1)
def _english_names() -> dict[str, str]:
    return _names("en") | FURTHER_NAMES


@lru_cache(maxsize=64)
def _own_names(code: str) -> dict[str, str]:
    """What speakers of a language call it, with its regions and scripts."""
    try:
        return {name: language for name, language in _names(code).items() if language == code}
    except (UnknownLocaleError, ValueError):
        return {}


def _names(locale: str) -> dict[str, str]:
    """Names in the language of `locale`, folded, with the code of each; regions and scripts count as their language."""
    named = ((name.casefold(), tag.split("_")[0]) for tag, name in Locale(locale).languages.items())
    return {name: code for name, code in named if len(code) == CODE_CHARS}


def english_name(code: str) -> str:
    """`Spanish` for `es`; the code itself where there is no name."""
    return str(Locale("en").languages.get(code, code))
