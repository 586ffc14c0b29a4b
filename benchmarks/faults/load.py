"""Clients that speak without a pause, and what became of each of their requests."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

SPEECH = "/v1/audio/speech"
WORD_BYTES = 4800  # of a toy's word: 0.1 s of 24 kHz
WORD_S = 0.05
STUCK_S = 90.0
ENDS = ("whole", "left", "cut", "refused", "unconnected", "lost", "short", "stuck")
OK = 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """`end`: whole; left (by the client itself); cut (after its first byte, visibly); short (as if it were whole);
    refused (with a status and when to come back); unconnected (the port was closed: every client tries again); lost
    (without a byte and without an answer, or without a time to come back); stuck."""

    end: str
    began_s: float
    ended_s: float
    model: str = ""
    told: str = ""


@dataclass
class Users:
    """So many at once; each asks for the next answer when it has had the last one."""

    url: str
    count: int = 8
    leave: float = 0.1  # part of the requests whose client goes in the middle
    outcomes: list[Outcome] = field(default_factory=list)
    models: Sequence[str] = ("quality", "fast", "auto", "first", "second")
    _random: random.Random = field(default_factory=lambda: random.Random(5))
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, timeout=STUCK_S) as client:
            await asyncio.gather(*(self._user(client) for _ in range(self.count)))

    def stop(self) -> None:
        self._stop.set()

    async def _user(self, client: httpx.AsyncClient) -> None:
        while not self._stop.is_set():
            outcome = await self._asked(client)
            self.outcomes.append(outcome)
            if outcome.end in ("refused", "lost", "unconnected"):
                await asyncio.sleep(0.2)  # less than it was told: others must not have to

    async def _asked(self, client: httpx.AsyncClient) -> Outcome:
        words, model = self._random.randint(10, 60), self._random.choice(self.models)
        leaves_at = words * WORD_BYTES // 2 if self._random.random() < self.leave else None
        body = {"model": model, "input": "slow " + "one " * (words - 1), "response_format": "pcm"}
        began_s, size, spoke, told = time.monotonic(), 0, "", ""

        def ended(end: str) -> Outcome:
            return Outcome(end, began_s, time.monotonic(), spoke or model, told)

        try:
            async with client.stream("POST", SPEECH, json=body) as answer:
                spoke = answer.headers.get("x-model", "")
                if answer.status_code != OK:
                    told = f"{answer.status_code} {(await answer.aread()).decode(errors='replace')[:200]}"
                    return ended("refused" if "retry-after" in answer.headers else "lost")
                async for data in answer.aiter_bytes():
                    size += len(data)
                    if leaves_at is not None and size >= leaves_at:
                        return ended("left")
        except httpx.TimeoutException:
            return ended("stuck")
        except httpx.ConnectError:
            return ended("unconnected")
        except httpx.TransportError as error:
            told = f"{type(error).__name__}: {error}"
            return ended("cut" if size else "lost")
        return ended("whole" if size == words * WORD_BYTES else "short")

    def counts(self, since_s: float = 0.0, until_s: float = float("inf")) -> Counter[str]:
        """How requests ended that were under way at some moment of that time."""
        return Counter(
            each.end for each in self.outcomes if each.ended_s >= since_s and each.began_s <= until_s
        )
