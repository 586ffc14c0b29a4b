"""The few file operations a voice store needs, whatever it lies on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from deployments.core.errors import SpeechError, Unavailable


class Lock(Protocol):
    """Held by one at a time; a crashed process gives up its locks."""

    def try_acquire(self) -> bool: ...

    def release(self) -> None: ...


class Files(Protocol):
    """Paths are relative to `url` and use forward slashes. Synchronous: call it from a thread.

    A write is seen by readers as a whole or not at all. Every operation raises Unavailable (code
    "voice_store_unavailable") where the place cannot be reached or refuses.
    """

    url: str
    place: str  # the same for people, without passwords

    def read(self, path: str) -> bytes | None:
        """The whole file, None where there is none."""

    def read_all(self, paths: Sequence[str]) -> dict[str, bytes]:
        """Many files by path; those that are not there are left out."""

    def write(self, path: str, data: bytes) -> None: ...

    def delete(self, path: str) -> None:
        """Delete a file or a folder with all it holds; nothing happens where there is none."""

    def names(self, folder: str) -> list[str]:
        """Sorted names of what a folder holds, without temporary files; empty where there is no folder."""

    def stamps(self, folder: str, file: str) -> dict[str, str]:
        """For each folder inside `folder` that holds `file`: a mark that changes whenever that file does. An empty
        mark says nothing."""

    def lock(self, name: str) -> Lock:
        """Nothing is touched before the lock is tried."""


def store_unavailable(place: str, reason: str) -> Unavailable:
    return Unavailable(
        f"The voice store at {place} cannot be used now ({reason}). Voices that come with a model work without it. "
        "Check that the place exists, that it has space left and that this server may write there; it is used again "
        "as soon as it works.",
        code="voice_store_unavailable",
        retry_after_s=5,
    )


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Whatever goes wrong inside is a fault of the place: fsspec's back ends raise what their libraries do."""
    try:
        yield
    except SpeechError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise store_unavailable(place, reason) from error


def without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]
