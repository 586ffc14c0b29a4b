"""A model hub in a thread: what the clients of Hugging Face and ModelScope ask for, and how a hub may fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".pth", ".pt", ".bin", ".safetensors", ".model")  # files that a hub keeps in Git LFS


@dataclass
class HubServer:
    """`repos`: files by path, by repository. `cut`: bytes after which the connection is lost, by path, `losses` times.
    `refused`: status of every answer about a repository. `wrong`: files of which one byte arrives changed."""

    url: str
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    losses: int = 1_000_000
    refused: dict[str, int] = field(default_factory=dict)
    wrong: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and Range of every request."""

    def add_folder(self, repo: str, folder: Path) -> None:
        files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        self.repos.setdefault(repo, {}).update(files)

    def commit(self, repo: str) -> str:
        return hashlib.sha1(repo.encode()).hexdigest()

    def info(self, repo: str) -> dict[str, Any]:
        return {
            "id": repo,
            "sha": self.commit(repo),
            "siblings": [_sibling(name, data) for name, data in self.repos[repo].items()],
        }

    def listing(self, repo: str) -> dict[str, Any]:
        """As ModelScope answers."""
        files = [
            {
                "Path": name,
                "Name": name.rpartition("/")[2],
                "Size": len(data),
                "Sha256": hashlib.sha256(data).hexdigest(),
                "Type": "blob",
            }
            for name, data in self.repos[repo].items()
        ]
        return {"Code": 200, "Success": True, "Data": {"Files": files}}

    def content(self, repo: str, path: str) -> bytes | None:
        data = self.repos.get(repo, {}).get(path)
        return data[:-1] + bytes([data[-1] ^ 1]) if data and path in self.wrong else data


def _sibling(name: str, data: bytes) -> dict[str, Any]:
    git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    sibling: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
    if name.endswith(LARGE):
        sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return sibling


PLACES = {
    "info": re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/revision/[^/]+"),
    "listing": re.compile(r"/api/v1/models/(?P<repo>[^/]+/[^/]+)/repo/files"),
    "query": re.compile(r"/api/v1/models/(?P<repo>[^/]+/[^/]+)/repo"),
    "file": re.compile(r"(?:/models)?/(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<path>.+)"),
}


@contextmanager
def running_hub() -> Iterator[HubServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            hub.asked.append((self.command, parts.path, self.headers.get("Range")))
            matches = ((kind, place.fullmatch(unquote(parts.path))) for kind, place in PLACES.items())
            kind, match = next(((kind, match) for kind, match in matches if match), ("", None))
            if match is None:
                self._answer(404, b"{}")
            elif status := hub.refused.get(match["repo"]):
                self._answer(status, b"{}", {"X-Error-Code": "GatedRepo"} if status == 403 else {})
            elif match["repo"] not in hub.repos:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif kind in ("info", "listing"):
                self._answer(200, json.dumps(getattr(hub, kind)(match["repo"])).encode())
            else:
                path = parse_qs(parts.query)["FilePath"][0] if kind == "query" else match["path"]
                self._file(match["repo"], path)

        do_HEAD = do_GET  # noqa: N815

        def _file(self, repo: str, path: str) -> None:
            data = hub.content(repo, path)
            if data is None:
                self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            headers = {
                "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
                "X-Repo-Commit": hub.commit(repo),
                "X-Linked-Size": str(len(data)),
                "Accept-Ranges": "bytes",
            }
            first, last, status = 0, len(data) - 1, 200
            if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                first, last, status = int(asked[1]), int(asked[2] or last), 206
                headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            body = data[first : last + 1]
            cut = hub.cut.get(path)
            if cut is not None and hub.losses > 0 and self.command == "GET":
                hub.losses -= 1
                self._answer(status, body, headers, sent=max(0, cut - first))
                self.close_connection = True
            else:
                self._answer(status, body, headers)

        def _answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body[:sent])

        def log_message(self, *arguments: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    hub = HubServer(f"http://127.0.0.1:{server.server_port}")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
