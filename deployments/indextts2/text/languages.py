"""The languages of IndexTTS-2.5: rows of its language table, and how a text tells its language
(indextts2.5-delta.md 2.3)."""

from __future__ import annotations

import re

from deployments.text.language import detect_language

# In the order of the rows. The first 99 have a special token, too; most were never trained.
CODES = tuple(
    " ".join(
        (
            "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt",
            "la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc",
            "ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su",
            "yue minnan wuyu dialect zh/en en/zh common",
        )
    ).split()
)
TAGGED = 99
# What the publisher says that it speaks, ISO 639-1.
SPOKEN = ("zh", "en", "ja", "es", "ar")

_OTHERS = CODES.index("common")
_IDS = {code: row for row, code in enumerate(CODES)}

_ARABIC = re.compile(r"[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_SPANISH_SIGNS = re.compile("[¿¡ñÑ]")
# Frequent words of one language that are none of the other.
_SPANISH = frozenset(
    " ".join(
        (
            "el la los las de del que y en un una es está son por para con se lo al su sus más como pero muy ya hay",
            "este esta esto ese esa eso qué cómo cuándo dónde quién sí también todo todos hoy mañana gracias hola yo",
            "tú él ella nosotros ellos mi tu ser tiene fue era había porque cuando hasta desde sobre entre sin",
            "buenos buenas días tardes noches señor señora casa vida mundo tiempo",
        )
    ).split()
)
_ENGLISH = frozenset(
    " ".join(
        (
            "the of and to is are was were in on for with that this it its you your we they he she i my be have has",
            "had do does not but or as at by from what when where who how will would can could there their an so if",
            "hello good morning please thanks yes",
        )
    ).split()
)


def language_id(code: str) -> int:
    """The row of a language; every other code has the row of `common`."""
    return _IDS.get(code, _OTHERS)


def language_of(text: str) -> str:
    """ISO 639-1: by the script, and where that is Latin by signs and frequent words, of Spanish or else English."""
    if 2 * len(_ARABIC.findall(text)) > len(_LETTER.findall(text)):
        return "ar"
    found = detect_language(text)
    if found != "en":
        return found
    if _SPANISH_SIGNS.search(text):
        return "es"
    words = [word.lower() for word in _WORD.findall(text)]
    spanish, english = (sum(word in known for word in words) for known in (_SPANISH, _ENGLISH))
    return "es" if spanish > english else "en"
