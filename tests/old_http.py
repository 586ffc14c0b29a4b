"""A client of HTTP/1.0, which no library is any more."""

from __future__ import annotations

import json
import socket
from typing import Any

TIMEOUT_S = 120


def speak_in_old_http(port: int, path: str, **fields: Any) -> tuple[str, bytes]:
    """Head, in lower case, and body of the answer to a request for a word of speech."""
    body = json.dumps({"input": "Hi.", "response_format": "pcm", **fields}).encode()
    lines = (
        f"POST {path} HTTP/1.0",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + body)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, content = answer.partition(b"\r\n\r\n")
    return head.decode("latin-1").lower(), content
