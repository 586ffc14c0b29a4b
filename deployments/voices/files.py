"""The few file operations a voice store needs, on a local directory or any object store that fsspec knows."""

from __future__ import annotations

import os
import secrets
import threading
from collections import defaultdict
from pathlib import Path
from typing import ClassVar, Protocol

import filelock
import fsspec
from fsspec.implementations.local import LocalFileSystem


class Lock(Protocol):
    def try_acquire(self) -> bool: ...

    def release(self) -> None: ...


class Files:
    """Paths are relative to `url` and use forward slashes.

    A write is seen by readers as a whole or not at all, where the file system can: local directories rename
    into place, object stores show an object when its upload is complete. Locks hold between processes on
    local (and shared) directories; on object stores only inside one process.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # Listings of an object store must not be remembered: other replicas add and delete.
        self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self.local_root = Path(self._root) if isinstance(self._fs, LocalFileSystem) else None

    def read(self, path: str) -> bytes | None:
        """The whole file, None where there is none."""
        try:
            return self._fs.cat_file(self._full(path))
        except FileNotFoundError:
            return None

    def write(self, path: str, data: bytes) -> None:
        if self.local_root is None:
            self._fs.makedirs(self._full(path).rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(self._full(path), data)
            return
        target = self.local_root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Hidden, so that `names` does not show what a crash leaves behind.
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        """Delete a file or a folder with all it holds; nothing happens where there is none."""
        try:
            self._fs.rm(self._full(path), recursive=True)
        except FileNotFoundError:
            return

    def move(self, source: str, target: str) -> None:
        """Move a file over `target`; nothing happens where there is no source."""
        data = self.read(source)
        if data is not None:
            self.write(target, data)
            self.delete(source)

    def names(self, folder: str) -> list[str]:
        """Sorted names of what a folder holds, without temporary files; empty where there is no folder."""
        try:
            entries = self._fs.ls(self._full(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (entry.rstrip("/").rpartition("/")[2] for entry in entries)
        return sorted(name for name in names if name and not name.startswith("."))

    def lock(self, name: str) -> Lock:
        """A lock that no two holders have at once; a crashed process gives up its locks."""
        if self.local_root is None:
            return _ProcessLock(f"{self.url} {name}")
        folder = self.local_root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return _FileLock(folder / f"{name}.lock")

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


class _FileLock:
    def __init__(self, path: Path) -> None:
        # An event loop may release it from another thread than the one that acquired it.
        self._lock = filelock.FileLock(path, thread_local=False)

    def try_acquire(self) -> bool:
        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            return False
        return True

    def release(self) -> None:
        self._lock.release()


class _ProcessLock:
    _locks: ClassVar[defaultdict[str, threading.Lock]] = defaultdict(threading.Lock)

    def __init__(self, name: str) -> None:
        self._lock = self._locks[name]

    def try_acquire(self) -> bool:
        return self._lock.acquire(blocking=False)

    def release(self) -> None:
        self._lock.release()
