"""A voice store in an object store, or anywhere else that fsspec reaches."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, ClassVar

import fsspec

from deployments.voices.files import Lock, reaching, without_password
from deployments.voices.object_lock import BothLocks, ObjectLock

# What fsspec's back ends call the mark of an object's content or the time of its last change.
STAMPS = (
    "ETag",
    "etag",
    "md5Hash",
    "generation",
    "mtime",
    "LastModified",
    "last_modified",
    "updated",
    "created",
)


class RemoteFiles:
    """Object stores show an object when its upload is complete."""

    # By address: several stores of one process may lie at the same place.
    _turns: ClassVar[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)
    _locks: ClassVar[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = without_password(url)
        self._lock = threading.Lock()
        self._reached: tuple[Any, str] | None = None

    def read(self, path: str) -> bytes | None:
        with self._back_end() as (files, root):
            try:
                data: bytes = files.cat_file(f"{root}/{path}")
            except FileNotFoundError:
                return None
            return data

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """At once, where the back end can; one after the other, 10 000 objects would take minutes."""
        with reaching(self.place):
            at_once = self._reach()[0].async_impl
        if not at_once:
            return {path: data for path in paths if (data := self.read(path)) is not None}
        found: dict[str, bytes] = {}
        with self._back_end() as (files, root):
            full = [f"{root}/{path}" for path in paths]
            contents = files.cat(full, on_error="return") if full else {}
            for path, name in zip(paths, full, strict=True):
                content = contents[name]
                if isinstance(content, bytes):
                    found[path] = content
                elif not isinstance(content, FileNotFoundError):
                    raise content
        return found

    def write(self, path: str, data: bytes) -> None:
        with self._back_end() as (files, root):
            files.makedirs(f"{root}/{path}".rpartition("/")[0], exist_ok=True)
            files.pipe_file(f"{root}/{path}", data)

    def delete(self, path: str) -> None:
        with self._back_end() as (files, root), suppress(FileNotFoundError):
            files.rm(f"{root}/{path}", recursive=True)

    def names(self, folder: str) -> list[str]:
        entries: list[str] = []
        with self._back_end() as (files, root), suppress(FileNotFoundError):
            entries = files.ls(f"{root}/{folder}", detail=False)
        names = (entry.rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if name and not name.startswith("."))

    def stamps(self, folder: str, file: str) -> dict[str, str]:
        found: dict[str, dict[str, Any]] = {}
        with self._back_end() as (files, root), suppress(FileNotFoundError):
            found = files.find(f"{root}/{folder}", detail=True)
        stamps = {}
        for path, facts in found.items():
            above, _, name = path.rpartition("/")
            if name == file:
                known = [str(facts[key]) for key in STAMPS if facts.get(key) is not None]
                stamps[above.rpartition("/")[2]] = "-".join([*known, str(facts.get("size"))]) if known else ""
        return stamps

    def lock(self, name: str) -> Lock:
        inside = self._locks[f"{self.url} {name}"]
        return BothLocks(inside, ObjectLock(self._back_end, f"locks/{name}"))

    @contextmanager
    def _back_end(self) -> Iterator[tuple[Any, str]]:
        """File system and root. One call at a time where the back end is not made for threads, as are only those that
        fsspec calls asynchronous."""
        with reaching(self.place):
            files, root = self._reach()
            with nullcontext() if files.async_impl else self._turns[self.url]:
                yield files, root

    def _reach(self) -> tuple[Any, str]:
        """Made at the first use, because some back ends connect at once: a store that is away
        when the server starts must not keep it from starting."""
        with self._lock:
            if self._reached is None:
                # Listings must not be remembered: other replicas add and delete.
                files, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
                self._reached = files, root.rstrip("/")
            return self._reached
