"""Characters that nobody reads aloud: pictographs, arrows, what cannot be seen."""

from __future__ import annotations

import regex

from deployments.text.pauses import PAUSE_CHARS

# Pictures, without the signs that Unicode counts among them: © ‼ ⁉ ℹ Ⓜ 〰 ㊗ ㊙ and the circled numbers ❶ to ➓.
_PICTURE = (
    r"[[\p{Extended_Pictographic}\p{Regional_Indicator}\p{Emoji_Modifier}\U0001F000-\U0001FAFF]"
    r"--[©‼⁉ℹⓂ〰〽㊗㊙\u2194-\u21aa\u2934\u2935\U0001F100-\U0001F1AC\u2776-\u2793]]"
    r"|[\u2300-\u2307\u230c-\u2328\u232b-\u23ff\u2500-\u2775\u2794-\u27bf\u2b00-\u2bff†‡※⁂¶\ufffc\ufffd]"
)
_ARROW = r"[\u2190-\u21ff\u2794\u2798-\u27af\u27b1-\u27be\u27f0-\u27ff\u2900-\u297f\u2b05-\u2b0d]"
_INVISIBLE = regex.compile(
    # Joiners and tags make one picture of several; beside letters of scripts that join, joiners are spelling.
    r"(?<![\p{Devanagari}\p{Bengali}\p{Tamil}\p{Arabic}\p{Sinhala}\p{Khmer}\p{M}])[\u200c\u200d]"
    r"|[\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\u20e3]"
    rf"|[\U000e0000-\U000e01ef]|[[\p{{Co}}\p{{Cn}}]--[{PAUSE_CHARS}]]",
    regex.VERSION1,
)
_BETWEEN = regex.compile(
    rf"(?P<arrow>{_ARROW}|(?<=\s)(?:<?[-=]{{1,2}}>|<--?)(?=\s)|(?<=\s)[•·](?=\s))|(?P<picture>{_PICTURE}|[™®])",
    regex.VERSION1,
)
_APOSTROPHE = regex.compile(r"(?<=\p{Latin})[’ʼ＇](?=\p{Latin})")
_HAN = regex.compile(r"\p{Han}")
_CLOSING = frozenset(".,!?;:)]}”’…，。！？；：、）】」』》%")
_STOPS = frozenset(".,!?;:…，。！？；：、—–([{（【「『《")


def drop_signs(text: str) -> str:
    """Without pictures; an arrow between words is a comma. Marks stay next to their words, and words stay apart."""
    text = _APOSTROPHE.sub("'", _INVISIBLE.sub("", text))
    parts: list[str] = []
    at = 0
    arrow = False
    for match in _BETWEEN.finditer(text):
        between = text[at : match.start()]
        if parts and not between.strip(" \t"):
            arrow = arrow or bool(match["arrow"])
        else:
            _append(parts, between, arrow=arrow)
            arrow = bool(match["arrow"])
        at = match.end()
    if not parts:
        return text
    _append(parts, text[at:], arrow=arrow)
    return "".join(parts)


def _append(parts: list[str], following: str, *, arrow: bool) -> None:
    """The text after a sign, joined to that before it."""
    if not parts:
        parts.append(following)
        return
    before = parts.pop().rstrip(" \t")
    following = following.lstrip(" \t")
    if not before or before[-1] == "\n" or not following or following[0] in _CLOSING or following[0] == "\n":
        glue = ""
    elif arrow and before[-1] not in _STOPS:
        glue = "，" if _HAN.match(before[-1]) else ", "
    else:
        glue = " "
    parts += (before, glue, following)
