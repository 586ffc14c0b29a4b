"""A reading is a list of rules: what one matches is replaced by words, and the next sees the result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Words = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    words: Words
    """A template as for `re.sub`, or a function of the match; one that gives the match back leaves it to later
    rules."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Rules of one kind, and a character class without which none of them matches."""

    trigger: re.Pattern[str]
    rules: Sequence[Rule]


def reading(trigger: str, rules: Sequence[Rule]) -> Reading:
    return Reading(re.compile(trigger), rules)


def rule(pattern: str, words: Words, *, ignore_case: bool = False) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE if ignore_case else 0), words)


def apply(readings: Iterable[Reading], text: str) -> str:
    for kind in readings:
        if kind.trigger.search(text):
            for each in kind.rules:
                text = each.pattern.sub(each.words, text)
    return text


def alternatives(words: Iterable[str]) -> str:
    """A group that matches one of the words, the longest first."""
    return "(?:" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"
