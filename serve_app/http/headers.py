"""What an answer says about itself beside its body: the names of the headers, and their values as ASCII."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
MAX_NAMED = 20
MAX_HEADER_CHARS = 4000  # proxies give all headers of an answer together 8 to 16 kB
# A page of another origin may read these, too.
EXPOSED = (
    *("X-Request-Id", "X-Model", "X-Voice", "X-Sample-Rate", "X-Route-Reason", "X-Cache", "X-Warnings"),
    "X-Filler-Ms",
    *("X-Ignored-Fields", "X-Audio-Duration", "X-RTF", "Server-Timing", "Retry-After"),
    *("Accept-Ranges", "Content-Range", "Content-Length", "ETag"),
)


def header_value(text: str) -> str:
    """Voices may have names in any script; what ASCII does not have is percent-encoded."""
    return quote(text, safe=PRINTABLE)


def ignored_names(names: Iterable[str]) -> list[str]:
    """Each once, in ASCII and short: field names of a client may be anything."""
    return [ascii(name)[1:-1][:60] for name in list(dict.fromkeys(names))[:MAX_NAMED]]


def ignored_header(names: Iterable[str]) -> dict[str, str]:
    """`X-Ignored-Fields`, or nothing where every field counted."""
    shown = ", ".join(ignored_names(names))
    return {"X-Ignored-Fields": shown} if shown else {}


def warnings_header(warnings: Iterable[str]) -> dict[str, str]:
    """`X-Warnings`, or nothing where there are none: each percent-encoded, with `; ` between them.

    What would make the header too long for proxies is counted instead of listed.
    """
    safe = PRINTABLE.replace(";", "")
    shown: list[str] = []
    left = [quote(warning, safe=safe, errors="replace") for warning in dict.fromkeys(warnings)]
    while left and sum(map(len, (*shown, left[0]))) < MAX_HEADER_CHARS:
        shown.append(left.pop(0))
    if left:
        shown.append(f"and {len(left)} more, which the body of an SSE answer has")
    return {"X-Warnings": "; ".join(shown)} if shown else {}
