"""Parts of a file that is in memory, for players that seek (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fastapi import Request, Response

from deployments.core.errors import OutOfRange
from serve_app.http.errors import error_response

RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.ASCII | re.IGNORECASE)


def file_response(
    request: Request, data: bytes, media_type: str, etag: str, headers: Mapping[str, str]
) -> Response:
    """The whole file (200), the part that Range names (206), or 416 where the file has no such part.

    `etag` is a strong one without quotes. Several ranges at once, other units and what cannot be read are answered
    with the whole, as the RFC allows: no player of audio sends them.
    """
    headers = {**headers, "Accept-Ranges": "bytes", "ETag": f'"{etag}"'}
    wanted = RANGE.fullmatch(request.headers.get("range", ""))
    unchanged = request.headers.get("if-range", headers["ETag"]).strip() == headers["ETag"]
    if wanted is None or not unchanged or not any(wanted.groups()):
        return Response(data, media_type=media_type, headers=headers)
    found = _bounds(wanted[1], wanted[2], len(data))
    if found is None:
        return Response(data, media_type=media_type, headers=headers)
    begin, end = found
    if begin >= end:
        answer = error_response(
            OutOfRange(f"the file has {len(data)} bytes, none of which are in this range")
        )
        answer.headers["Content-Range"] = f"bytes */{len(data)}"
        return answer
    headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(data)}"
    return Response(data[begin:end], status_code=206, media_type=media_type, headers=headers)


def _bounds(first: str, last: str, size: int) -> tuple[int, int] | None:
    """[begin, end), empty where the file has none of it; None where the range makes no sense."""
    if not first:
        return max(0, size - int(last)), size if int(last) else 0
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size
