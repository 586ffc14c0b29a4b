"""Placeholders that carry a piece of text unharmed through the FST normaliser."""

from __future__ import annotations

from collections.abc import Iterable


def letters(index: int) -> str:
    """0 → "a", 25 → "z", 26 → "aa": names without digits, which the FST normaliser would read out."""
    name = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        name = chr(ord("a") + rest) + name
    return name


def longest_first(items: Iterable[str]) -> list[str]:
    """The distinct items in an order in which no item (`ng4`) tears one that holds it (`zhuang4`)."""
    return sorted(dict.fromkeys(items), key=len, reverse=True)


def hide(text: str, items: Iterable[str], pattern: str) -> tuple[str, dict[str, str]]:
    """Every occurrence of each item becomes `pattern` with its letters filled in; returns the way back."""
    hidden: dict[str, str] = {}
    for item in longest_first(items):
        placeholder = pattern.format(letters(len(hidden)))
        text = text.replace(item, placeholder)
        hidden[placeholder] = item
    return text, hidden


def restore(text: str, hidden: dict[str, str]) -> str:
    for placeholder, item in hidden.items():
        text = text.replace(placeholder, item)
    return text
