"""A lock that is an object of the store, so that it holds between the processes of several machines."""

from __future__ import annotations

import errno
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

BackEnd = Callable[[], AbstractContextManager[tuple[Any, str]]]

# A change of the registry takes a second. Whoever holds a lock for so long has died; another one then takes it.
LEASE_S = 60.0
# What s3fs makes of "there is one" (412), and of "another one is being created" (409).
TAKEN = (errno.EINVAL, errno.EBUSY)
RETRY_S = 0.2  # a look at a lock that is held costs a request


class ObjectLock:
    """Held by whoever has created the object: back ends that can create one only where there is none (S3, GCS, Azure,
    memory) let one of many succeed. It says whose it is and since when, by the clocks of the machines, which must
    agree to a few seconds."""

    def __init__(self, back_end: BackEnd, path: str, clock: Callable[[], float] = time.time) -> None:
        """`back_end`: file system and root, as RemoteFiles opens it; `path`: of the object, below the root."""
        self._back_end = back_end
        self._path = path
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._next_try_s = 0.0

    def try_acquire(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_try_s:
            return False
        self._next_try_s = now_s + RETRY_S
        with self._back_end() as (files, root):
            path = f"{root}/{self._path}"
            if self._create(files, path):
                return True
            try:
                _, _, since = files.cat_file(path).decode("ascii", "replace").partition(" ")
            except FileNotFoundError:
                return False  # given up meanwhile: the next try may succeed
            if self._clock() - _seconds(since) > LEASE_S:
                files.rm_file(path)
                return self._create(files, path)
            return False

    def release(self) -> None:
        """Gives up what is still ours: a lease that ran out may be another's by now."""
        with self._back_end() as (files, root):
            path = f"{root}/{self._path}"
            try:
                mine = files.cat_file(path).decode("ascii", "replace").startswith(self._token)
                if mine:
                    files.rm_file(path)
            except FileNotFoundError:
                pass

    def _create(self, files: Any, path: str) -> bool:
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            files.pipe_file(path, f"{self._token} {self._clock()}".encode(), mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in TAKEN:
                return False
            raise
        return True


class BothLocks:
    """The first one keeps the threads of this process from asking the store at once."""

    def __init__(self, inside: threading.Lock, outside: ObjectLock) -> None:
        self._inside = inside
        self._outside = outside

    def try_acquire(self) -> bool:
        if not self._inside.acquire(blocking=False):
            return False
        held = False
        try:
            held = self._outside.try_acquire()
        finally:
            if not held:
                self._inside.release()
        return held

    def release(self) -> None:
        try:
            self._outside.release()
        finally:
            self._inside.release()


def _seconds(written: str) -> float:
    """What cannot be read is no lock that anybody holds."""
    try:
        return float(written)
    except ValueError:
        return 0.0
