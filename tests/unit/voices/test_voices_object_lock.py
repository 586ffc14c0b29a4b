"""A lock that is an object of the store: one of many gets it, and who dies with it does not keep it for ever."""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import pytest

from deployments.voices import object_lock
from deployments.voices.object_lock import LEASE_S, BothLocks, ObjectLock
from deployments.voices.remote_files import RemoteFiles
from deployments.voices.store import VoiceStore


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_lock, "RETRY_S", 0.0)


@pytest.fixture
def place() -> str:
    """Of its own: all that is in memory is kept until the process ends."""
    return f"/locks-{uuid.uuid4().hex}"


def lock(place: str, clock: Clock) -> ObjectLock:
    @contextmanager
    def back_end() -> Iterator[tuple[Any, str]]:
        yield fsspec.filesystem("memory"), place

    return ObjectLock(back_end, "locks/registry", clock)


def test_one_of_many_holds_it_until_it_is_given_up(place: str) -> None:
    clock = Clock()
    first, second = lock(place, clock), lock(place, clock)
    assert first.try_acquire()
    assert not second.try_acquire()
    assert not first.try_acquire()
    first.release()
    assert second.try_acquire()


def test_who_died_with_it_keeps_it_for_a_while_only(place: str) -> None:
    clock = Clock()
    dead, other = lock(place, clock), lock(place, clock)
    assert dead.try_acquire()
    clock.now_s += LEASE_S - 1
    assert not other.try_acquire()
    clock.now_s += 2
    assert other.try_acquire()
    dead.release()  # it was not dead, only late: the lock is another's
    assert not lock(place, clock).try_acquire()


def test_an_object_that_says_nothing_is_no_lock(place: str) -> None:
    files = fsspec.filesystem("memory")
    files.makedirs(f"{place}/locks", exist_ok=True)
    files.pipe_file(f"{place}/locks/registry", b"rubbish")
    assert lock(place, Clock()).try_acquire()


def test_a_thread_of_this_process_is_kept_out_without_a_look_at_the_store(place: str) -> None:
    inside, looks = threading.Lock(), []

    class Looking(ObjectLock):
        def try_acquire(self) -> bool:
            looks.append(1)
            return super().try_acquire()

    outside = Looking(lambda: lock(place, Clock())._back_end(), "locks/registry")
    first, second = BothLocks(inside, outside), BothLocks(inside, outside)
    assert first.try_acquire()
    assert not second.try_acquire()
    assert len(looks) == 1
    first.release()
    assert second.try_acquire()


def test_a_lock_that_the_store_refuses_is_given_back_inside(place: str) -> None:
    inside = threading.Lock()
    held = lock(place, Clock())
    assert held.try_acquire()
    assert not BothLocks(inside, lock(place, Clock())).try_acquire()
    assert not inside.locked()


def test_stores_of_two_processes_take_turns(
    place: str, recording: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two processes have it: no lock of Python's is between them."""
    url = f"memory:/{place}"
    one, other = RemoteFiles(url), RemoteFiles(url)
    monkeypatch.setattr(RemoteFiles, "_locks", defaultdict(threading.Lock))
    held = one.lock("registry")
    assert held.try_acquire()
    monkeypatch.setattr(RemoteFiles, "_locks", defaultdict(threading.Lock))
    assert not other.lock("registry").try_acquire()
    held.release()
    assert other.lock("registry").try_acquire()
    assert VoiceStore(url).files.names("locks") == ["registry"]
