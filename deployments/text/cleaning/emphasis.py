"""The stars, underscores and tildes of emphasis, told from those of arithmetic and of names."""

from __future__ import annotations

import re

_RUN = re.compile(r"\*+|_+|~~(?!~)|\n[ \t]*\n")
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>]*[^\s<>*_~.,;:!?)\]]")
# Between these and the emphasised words nothing belongs; a bracket of arithmetic is none of them: `a*(b+c)`.
_BEFORE = frozenset("([{\"'“‘«¿¡—–-/,.;:!?，。：；！？、（【「『《*_~|>")
_AFTER = frozenset(")]}\"'”’»—–-/,.;:!?，。：；！？、）】」』》…*_~|<")
_LONGEST_RUN = 3
_LAST_LATIN = "\u024f"  # beyond it, words may touch the signs: Chinese, Korean


def drop_emphasis(text: str) -> str:
    """`*word*`, `**word**`, `__word__`, `~~word~~` without the signs, also where the other half is missing, as in
    a piece of a longer text; a lone underscore and a lone star at a number stay. `2*3*4` and `snake_case` have none."""
    if not any(sign in text for sign in "*_~"):
        return text
    protected = [match.span() for match in _ADDRESS.finditer(text)]
    dropped: list[tuple[int, int]] = []
    waiting: dict[str, tuple[int, int]] = {}  # runs that opened
    for run in _RUN.finditer(text):
        sign = run.group()
        if sign[0] == "\n":
            waiting.clear()
            continue
        while protected and protected[0][1] <= run.start():
            protected.pop(0)
        if len(sign) > _LONGEST_RUN or (protected and protected[0][0] <= run.start()):
            continue
        before, after = text[run.start() - 1 : run.start()], text[run.end() : run.end() + 1]
        opens = _is_outside(before, _BEFORE) and _is_inside(after)
        closes = _is_outside(after, _AFTER) and _is_inside(before)
        if closes and sign in waiting:
            dropped += (waiting.pop(sign), run.span())
        elif opens or closes:
            if opens:
                waiting[sign] = run.span()
            if _is_emphasis_alone(sign, after if opens else before):
                dropped.append(run.span())
    return _without(text, dropped)


def _is_emphasis_alone(sign: str, inside: str) -> bool:
    """Whether one half tells that it is emphasis."""
    return sign[0] == "~" or (sign[0] == "*" and (len(sign) > 1 or not inside.isdigit()))


def _is_outside(char: str, signs: frozenset[str]) -> bool:
    return not char or char.isspace() or char in signs or char > _LAST_LATIN


def _is_inside(char: str) -> bool:
    return bool(char) and not char.isspace() and char not in "/\\"


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    kept: list[str] = []
    at = 0
    for start, end in sorted(set(spans)):
        kept.append(text[at:start])
        at = end
    return "".join([*kept, text[at:]])
