"""Telling a client which of its fields changed nothing."""

from __future__ import annotations

from collections.abc import Iterable

MAX_NAMED = 20


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """`X-Ignored-Fields`, or nothing where every field counted."""
    # Header values are Latin-1; field names of a client may be anything.
    shown = ", ".join(ascii(name)[1:-1][:60] for name in list(dict.fromkeys(names))[:MAX_NAMED])
    return {"X-Ignored-Fields": shown} if shown else {}
