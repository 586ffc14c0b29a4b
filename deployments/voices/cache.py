"""A cache limited by bytes, used for profiles in RAM and by stages for what they keep of them on a device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


@dataclass(frozen=True)
class CacheStats:
    hits: int
    misses: int
    evictions: int
    items: int
    bytes: int


class ByteLRU(Generic[T]):
    """The most recently used values, as many as fit into `max_bytes`; safe to use from several threads.

    `size_of` gives the bytes of a value. For a device tier `T` is whatever holds the tensors: a value that
    falls out is only let go, so its memory is free as soon as no running request holds it.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[T], int]) -> None:
        self._values: LRUCache[str, T] = LRUCache(max_bytes, getsizeof=size_of)
        self._size_of = size_of
        self._lock = threading.Lock()
        self._hits = self._misses = self._evictions = 0

    def get(self, key: str) -> T | None:
        with self._lock:
            value = self._values.get(key)
            if value is None:
                self._misses += 1
            else:
                self._hits += 1
            return value

    def put(self, key: str, value: T) -> bool:
        """Keep `value`, dropping the least recently used to make room; False where it alone is too large."""
        with self._lock:
            self._values.pop(key, None)
            if self._size_of(value) > self._values.maxsize:
                return False
            before = len(self._values)
            self._values[key] = value
            self._evictions += before + 1 - len(self._values)
            return True

    def drop(self, prefix: str) -> int:
        """Forget every value whose key starts with `prefix`; says how many there were."""
        with self._lock:
            keys = [key for key in self._values if key.startswith(prefix)]
            for key in keys:
                del self._values[key]
            return len(keys)

    def stats(self) -> CacheStats:
        with self._lock:
            return CacheStats(
                self._hits, self._misses, self._evictions, len(self._values), int(self._values.currsize)
            )
