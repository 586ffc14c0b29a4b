"""The version of an encoder, which may be replaced while others believe in the old one."""

from __future__ import annotations

import asyncio

import pytest

from deployments.voices import encoder_version
from deployments.voices.encoder_version import EncoderVersion


class Fetching:
    """Answers with what is set, or raises it."""

    def __init__(self) -> None:
        self.version: str | Exception = "v1"
        self.asked = 0

    async def __call__(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.version, Exception):
            raise self.version
        return self.version


async def settled() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def test_it_is_fetched_once_and_then_known() -> None:
    fetch = Fetching()
    version = EncoderVersion(fetch)
    assert [await version.current() for _ in range(3)] == ["v1"] * 3
    assert fetch.asked == 1


async def test_an_old_answer_serves_while_a_new_one_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = Fetching()
    version = EncoderVersion(fetch)
    await version.current()
    monkeypatch.setattr(encoder_version, "TTL_S", -1.0)
    fetch.version = "v2"
    assert [await version.current(), await version.current()] == ["v1", "v1"]
    await settled()
    assert fetch.asked == 2
    assert await version.current() == "v2"
    await settled()


async def test_a_failure_is_the_first_callers_and_not_that_of_a_refresh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch = Fetching()
    version = EncoderVersion(fetch)
    fetch.version = RuntimeError("not there yet")
    with pytest.raises(RuntimeError):
        await version.current()
    fetch.version = "v1"
    await version.current()
    monkeypatch.setattr(encoder_version, "TTL_S", -1.0)
    fetch.version = RuntimeError("gone")
    assert await version.current() == "v1"
    await settled()
    fetch.version = "v3"
    assert await version.current() == "v1"
    await settled()
    assert await version.current() == "v3"
    await settled()


async def test_what_a_profile_says_counts() -> None:
    fetch = Fetching()
    version = EncoderVersion(fetch)
    version.learn("v9")
    assert await version.current() == "v9"
    assert fetch.asked == 0
