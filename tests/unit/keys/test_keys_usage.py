from __future__ import annotations

import time

import pytest

from deployments.core.errors import Forbidden, RateLimited
from serve_app.keys.api_key import ApiKey, new_key
from serve_app.keys.usage import DAY_S, FRESH_S, KeyUsage


def key(**limits: int) -> ApiKey:
    return new_key("Ada", **limits)[1]  # type: ignore[arg-type]


def test_requests_a_minute() -> None:
    usage, ada, ben = KeyUsage(), key(requests_per_minute=3), key(requests_per_minute=3)
    for _ in range(3):
        usage.request(ada)
    with pytest.raises(RateLimited) as raised:
        usage.request(ada)
    assert (raised.value.status, raised.value.code) == (429, "rate_limit_exceeded")
    assert raised.value.retry_after_s is not None
    assert 1 <= raised.value.retry_after_s <= 60
    usage.request(ben)


def test_the_minute_moves_on(monkeypatch: pytest.MonkeyPatch) -> None:
    usage, ada, now_s = KeyUsage(), key(requests_per_minute=2), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    usage.request(ada)
    now_s += 40
    usage.request(ada)
    with pytest.raises(RateLimited) as raised:
        usage.request(ada)
    assert raised.value.retry_after_s == 20
    now_s += 20
    usage.request(ada)
    with pytest.raises(RateLimited):
        usage.request(ada)


def test_streams_at_the_same_time() -> None:
    usage, ada = KeyUsage(), key(streams=2)
    with usage.stream(ada, "a"), usage.stream(ada, "b"), usage.stream(ada, "b"):
        assert usage.streams_of(ada.id) == 2
        with pytest.raises(RateLimited) as raised, usage.stream(ada, "c"):
            pass
        assert raised.value.retry_after_s == 1
        with usage.stream(key(streams=1), "c"):
            pass
    with usage.stream(ada, "c"):
        assert usage.streams_of(ada.id) == 1
    assert usage.streams_of(ada.id) == 0


def test_a_stream_that_fails_gives_its_place_back() -> None:
    usage, ada = KeyUsage(), key(streams=1)
    with pytest.raises(RuntimeError), usage.stream(ada, "a"):
        raise RuntimeError
    with usage.stream(ada, "b"):
        pass


def test_characters_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    usage, ada = KeyUsage(), key(characters_per_day=100)
    usage.take_characters(ada, 60)
    with pytest.raises(RateLimited, match="of which 40 are left") as raised:
        usage.take_characters(ada, 50)
    assert raised.value.code == "quota_exceeded"
    assert raised.value.retry_after_s == pytest.approx(DAY_S, abs=5)
    usage.take_characters(ada, 40)
    usage.give_back_characters(ada, 40)
    usage.take_characters(ada, 40)
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + DAY_S)
    usage.take_characters(ada, 100)


def test_a_text_longer_than_the_day_is_not_told_to_come_back() -> None:
    usage = KeyUsage()
    with pytest.raises(Forbidden) as raised:
        usage.take_characters(key(characters_per_day=100), 101)
    assert (raised.value.status, raised.value.retry_after_s) == (403, None)


def test_without_limits_nothing_is_counted() -> None:
    usage, ada = KeyUsage(), key()
    for _ in range(1000):
        usage.request(ada)
        usage.take_characters(ada, 10**9)


def test_what_others_counted_counts_too() -> None:
    usage, other, third = KeyUsage(), KeyUsage(), KeyUsage()
    ada = key(requests_per_minute=5, streams=3, characters_per_day=100)
    other.request(ada)
    other.take_characters(ada, 30)
    third.request(ada)
    third.take_characters(ada, 30)
    with other.stream(ada, "a"), third.stream(ada, "b"):
        usage.request(ada)
        usage.hear([usage.report(), other.report(), third.report()])
        usage.request(ada)
        usage.request(ada)
        with pytest.raises(RateLimited, match="5 requests a minute") as raised:
            usage.request(ada)
        assert raised.value.retry_after_s is not None
        assert 59 <= raised.value.retry_after_s <= 60
        with (
            usage.stream(ada, "c"),
            pytest.raises(RateLimited, match="at the same time"),
            usage.stream(ada, "d"),
        ):
            pass
        with pytest.raises(RateLimited, match="of which 40 are left"):
            usage.take_characters(ada, 41)
        usage.take_characters(ada, 40)
    usage.hear([other.report(), third.report()])
    with usage.stream(ada, "c"), usage.stream(ada, "d"):
        pass


def test_a_report_that_is_old_counts_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    usage, other, ada = KeyUsage(), KeyUsage(), key(requests_per_minute=1)
    other.request(ada)
    usage.hear([other.report()])
    with pytest.raises(RateLimited):
        usage.request(ada)
    now_s += FRESH_S
    usage.request(ada)
