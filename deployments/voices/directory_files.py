"""A voice store in a local directory, or in one that several machines share."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import filelock
import fsspec

from deployments.voices.files import Lock, reaching

ATTEMPTS = 4  # before the last: another process may delete the very folder that is written to, or the reverse


class DirectoryFiles:
    """Writes are renamed into place. Locks hold between processes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.root = Path(fsspec.core.url_to_fs(url)[1])
        self.place = str(self.root)

    def read(self, path: str) -> bytes | None:
        with reaching(self.place), suppress(FileNotFoundError):
            return (self.root / path).read_bytes()
        return None

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        found = {}
        with reaching(self.place):
            for path in paths:
                with suppress(FileNotFoundError), open(f"{self.root}/{path}", "rb", buffering=0) as file:
                    found[path] = file.readall()
        return found

    def write(self, path: str, data: bytes) -> None:
        with reaching(self.place):
            for _ in range(ATTEMPTS):
                with suppress(FileNotFoundError):
                    self._write(self.root / path, data)
                    return
            self._write(self.root / path, data)

    @staticmethod
    def _write(target: Path, data: bytes) -> None:
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
        with reaching(self.place):
            for _ in range(ATTEMPTS):
                with suppress(OSError):
                    _delete(self.root / path)
                    return
            _delete(self.root / path)

    def names(self, folder: str) -> list[str]:
        with reaching(self.place), suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.root / folder) if not name.startswith("."))
        return []

    def stamps(self, folder: str, file: str) -> dict[str, str]:
        stamps = {}
        with reaching(self.place), suppress(FileNotFoundError), os.scandir(self.root / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError, NotADirectoryError):
                    # A rename makes a new inode, so that two changes within one tick of the clock differ as well.
                    state = os.stat(f"{entry.path}/{file}")
                    stamps[entry.name] = f"{state.st_mtime_ns}-{state.st_size}-{state.st_ino}"
        return stamps

    def lock(self, name: str) -> Lock:
        return _FileLock(self.root / "locks" / f"{name}.lock", self.place)


def _delete(target: Path) -> None:
    with suppress(FileNotFoundError):
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


class _FileLock:
    def __init__(self, path: Path, place: str) -> None:
        self._path = path
        self._place = place
        # It may be released from another thread than the one that acquired it.
        self._lock = filelock.FileLock(path, thread_local=False)

    def try_acquire(self) -> bool:
        with reaching(self._place):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(blocking=False)
            except filelock.Timeout:
                return False
        return True

    def release(self) -> None:
        self._lock.release()
