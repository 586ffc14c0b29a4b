"""What makes a text speakable."""

from __future__ import annotations

import re
import unicodedata

from deployments.core.errors import InvalidRequest
from deployments.text.cleaning.clean import clean_text
from deployments.text.pauses import MOST_PAUSE_S, MOST_PAUSES_S, asked_pauses_s
from deployments.text.scripts import is_speakable, longest_width

# C0 and C1 controls except line feed; NEL, line and paragraph separators become line feeds before.
_CONTROLS = re.compile(r"[\x01-\x09\x0b-\x1f\x7f-\x9f]")
_LINE_BREAKS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\ufeff\u200b\u2060]")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Nobody can read them, and some stand for pauses.
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")


def check_text(text: str, *, max_chars: int, cleaning: bool = False) -> str:
    """The text with `\\n` as its only control character, without outer whitespace and invisible marks; with `cleaning`
    also without markup and pictures (see clean_text).

    Raises InvalidRequest (param "input") that says why the text cannot be spoken. `max_chars`
    counts code points as sent.
    """
    if len(text) > max_chars:
        raise _refuse(
            f"The input has {len(text)} characters; at most {max_chars} are allowed."
            " Send it in several requests.",
            "input_too_long",
        )
    if "\x00" in text:
        raise _refuse(
            f"The input holds a NUL character at position {text.index(chr(0))}; remove it.",
            "invalid_character",
        )
    if surrogate := _SURROGATE.search(text):
        raise _refuse(
            f"The input holds half of a surrogate pair (U+{ord(surrogate.group()):04X}) at position"
            f" {surrogate.start()}; send valid Unicode.",
            "invalid_character",
        )
    cleaned = _INVISIBLE.sub("", _CONTROLS.sub(" ", _LINE_BREAKS.sub("\n", text))).strip()
    written = cleaned
    if cleaning:
        cleaned = clean_text(cleaned)
        _check_pauses(asked_pauses_s(cleaned))
    else:
        cleaned = _PRIVATE.sub("", cleaned).strip()
    if not written:
        raise _refuse("The input is empty; send the text to be spoken.", "input_empty")
    if not is_speakable(cleaned):
        kind = "markup" if is_speakable(written) else _unspeakable_kind(written)
        raise _refuse(
            f"The input holds only {kind}: there is nothing to speak. Send at least one word or number.",
            "input_not_speakable",
        )
    return cleaned


def check_length(text: str, *, chars_per_s: float, longest_s: float) -> None:
    """Refuse a text that takes longer than `longest_s` to speak, at so many Latin characters a second.

    To be called with the text as it will be read, because a number of ten characters may be read as a hundred. Raises
    InvalidRequest (param "input").
    """
    audio_s = longest_width(text) / chars_per_s
    if audio_s > longest_s:
        raise _refuse(
            f"The input takes about {audio_s:.0f} s to speak; at most {longest_s:g} s are allowed. Send it in several "
            "requests. Numbers are read digit by digit, and words of more than 50 letters letter by letter.",
            "input_too_long",
        )


def _check_pauses(pauses_s: list[float]) -> None:
    longest_s, all_s = max(pauses_s, default=0.0), sum(pauses_s)
    if longest_s > MOST_PAUSE_S or all_s > MOST_PAUSES_S:
        raise _refuse(
            f"The input asks for pauses of {all_s:g} s, the longest of them {longest_s:g} s; {MOST_PAUSE_S:g} s are"
            f" allowed for each and {MOST_PAUSES_S:g} s for all. Shorten them, or send the text in several requests.",
            "pause_too_long",
        )


def _refuse(message: str, code: str) -> InvalidRequest:
    return InvalidRequest(message, param="input", code=code)


def _unspeakable_kind(text: str) -> str:
    categories = {unicodedata.category(char)[0] for char in text if not char.isspace()}
    if "S" not in categories:
        return "punctuation"
    return "emoji and symbols" if "P" not in categories else "emoji, symbols and punctuation"
