"""Telling a client which of its fields changed nothing."""

from __future__ import annotations

from collections.abc import Iterable

MAX_NAMED = 20


def ignored_names(names: Iterable[str]) -> list[str]:
    """Each once, in ASCII and short: field names of a client may be anything."""
    return [ascii(name)[1:-1][:60] for name in list(dict.fromkeys(names))[:MAX_NAMED]]


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """`X-Ignored-Fields`, or nothing where every field counted."""
    shown = ", ".join(ignored_names(names))
    return {"X-Ignored-Fields": shown} if shown else {}
