"""A web server in a thread that answers as scripted and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """`promised`: what Content-Length says; more than the body means that the server breaks off."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None


@dataclass
class ToyWeb:
    url: str
    answer: Answer = field(default_factory=Answer)
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@contextmanager
def running_web() -> Iterator[ToyWeb]:
    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            web.paths.append(self.requestline.split()[1])  # `path` has its slashes collapsed
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            is_form = (self.headers.get("content-type") or "").startswith("multipart/")
            web.bodies.append(json.loads(sent) if sent and not is_form else None)
            web.authorizations.append(self.headers.get("authorization"))
            answer = web.answer
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header(
                "Content-Length", str(len(answer.body) if answer.promised is None else answer.promised)
            )
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_DELETE = _reply  # noqa: N815

        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    web = ToyWeb(f"http://127.0.0.1:{server.server_port}")
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(status: int, message: str, **headers: str) -> Answer:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return Answer(json.dumps(body).encode(), status, {"Content-Type": "application/json", **headers})
