from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from deployments.voices.cache import ByteLRU


def make(max_bytes: int) -> ByteLRU[bytes]:
    return ByteLRU(max_bytes, len)


def test_least_recently_used_goes_first() -> None:
    cache = make(30)
    for key in "abc":
        assert cache.put(key, b"x" * 10)
    assert cache.get("a")
    assert cache.put("d", b"x" * 15)
    assert cache.get("b") is None
    assert cache.get("c") is None
    assert cache.get("a")
    assert cache.get("d")
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.evictions, stats.items, stats.bytes) == (3, 2, 2, 2, 25)


def test_too_large_values_are_not_kept() -> None:
    cache = make(10)
    assert cache.put("a", b"x" * 10)
    assert not cache.put("b", b"x" * 11)
    assert cache.get("a")
    assert not cache.put("a", b"x" * 11)
    assert cache.get("a") is None, "the outdated value must not stay"


def test_drop_by_prefix() -> None:
    cache = make(100)
    for key in ("one-a", "one-b", "two-a"):
        cache.put(key, b"x")
    assert cache.drop("one-") == 2
    assert cache.stats().items == 1
    assert cache.stats().evictions == 0


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 60)), max_size=60))
def test_never_over_its_size(puts: list[tuple[str, int]]) -> None:
    cache = make(100)
    for key, size in puts:
        assert cache.put(key, b"x" * size)
        assert len(cache.get(key) or b"") == size
        assert cache.stats().bytes <= 100


def test_threads() -> None:
    cache = make(500)

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(2000):
            key = str(dice.randrange(40))
            if dice.random() < 0.5:
                cache.put(key, b"x" * dice.randrange(1, 60))
            else:
                cache.get(key)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    stats = cache.stats()
    assert 0 < stats.bytes <= 500
    assert stats.bytes == sum(len(cache.get(str(key)) or b"") for key in range(40))
