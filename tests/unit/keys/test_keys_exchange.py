from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from deployments.core.errors import RateLimited
from serve_app.keys import exchange
from serve_app.keys.api_key import new_key
from serve_app.keys.exchange import UsageExchange
from serve_app.keys.usage import KeyUsage, UsageReport

_, ADA = new_key("Ada", requests_per_minute=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "EXCHANGE_S", 0.01)


def exchanging(usage: KeyUsage, others: Sequence[KeyUsage]) -> list[int]:
    """How often `usage` has asked, as the only element of a list."""
    asked = [0]

    async def ask(timeout_s: float) -> list[UsageReport]:
        asked[0] += 1
        if not others:
            raise TimeoutError
        return [each.report() for each in (usage, *others)]

    usage.when_used = UsageExchange(usage, ask).wake
    return asked


async def test_replicas_that_ask_each_other_hold_a_limit_together() -> None:
    usages = [KeyUsage() for _ in range(3)]
    for usage in usages:
        exchanging(usage, [each for each in usages if each is not usage])
    for usage in usages:
        usage.request(ADA)
    await asyncio.sleep(0.1)
    for usage in usages:
        with pytest.raises(RateLimited):
            usage.request(ADA)


async def test_nobody_is_asked_where_no_key_with_limits_is_used() -> None:
    usage = KeyUsage()
    asked = exchanging(usage, [KeyUsage()])
    usage.request(new_key("Ben")[1])
    await asyncio.sleep(0.05)
    assert asked == [0]


async def test_it_ends_when_nothing_counts_any_more() -> None:
    usage = KeyUsage()
    asked = exchanging(usage, [KeyUsage()])
    with usage.stream(new_key("Cleo", streams=1)[1], "a"):
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
    found = asked[0]
    assert found > 1
    await asyncio.sleep(0.05)
    assert asked == [found]


async def test_others_that_do_not_answer_lock_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    usage = KeyUsage()
    asked = exchanging(usage, [])
    for _ in range(3):
        usage.request(ADA)
    await asyncio.sleep(0.1)
    assert asked[0] > 1
    with pytest.raises(RateLimited):
        usage.request(ADA)
    assert len(caplog.records) == 1  # not one a second
