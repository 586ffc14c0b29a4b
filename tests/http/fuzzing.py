"""What a server may answer to anything at all, and how soon."""

from __future__ import annotations

import httpx

ANSWERS = frozenset((200, 400, 403, 404, 405, 408, 409, 413, 415, 416, 429))
LONGEST_S = 60.0  # no request of a toy takes so long, however busy the machine is


def check(answer: httpx.Response) -> None:
    """An answer that a person can be shown: a known status, and where it is a refusal, OpenAI's error object."""
    assert answer.status_code in ANSWERS, (answer.status_code, answer.text[:500])
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        error = answer.json()["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["message"]
