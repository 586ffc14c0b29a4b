"""A reading is a list of rules: what one matches is replaced by words, and the next sees the result."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    replacement: Replacement
    """A template as for `re.sub`, or a function of the match; one that gives the match back leaves it to later
    rules."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Rules of one kind, and a character class without which none of them matches."""

    trigger: re.Pattern[str]
    rules: Sequence[Rule]


def reading(trigger: str, rules: Sequence[Rule]) -> Reading:
    return Reading(re.compile(trigger), rules)


def rule(pattern: str, replacement: Replacement, *, ignore_case: bool = False) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE if ignore_case else 0), replacement)


def apply(readings: Iterable[Reading], text: str) -> str:
    for kind in readings:
        if kind.trigger.search(text):
            for each in kind.rules:
                text = each.pattern.sub(each.replacement, text)
    return text


def words(text: str) -> list[str]:
    return text.split()


def alternatives(signs: Iterable[str]) -> str:
    """A group that matches one of the words, the longest first."""
    return "(?:" + "|".join(sorted(map(re.escape, signs), key=len, reverse=True)) + ")"
