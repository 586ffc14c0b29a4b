"""Registered voices as a router knows them: in memory, and never much older than a second."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from functools import partial

from deployments.core.catalogue import VoiceCard
from deployments.core.errors import SpeechError
from deployments.core.logs import logger
from deployments.voices.index import EMPTY, VoiceIndex
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.store import VoiceStore
from deployments.voices.workers import Workers

TTL_S = 1.0
LISTING_TTL_S = 60.0  # all is listed so often, in case that a writer died before it changed the revision
LONGEST_WAIT_S = 5.0  # for whoever cannot do without an answer of the store
SHORT_WAIT_S = 0.5  # for whoever can


class VoiceSnapshot:
    """Used from one event loop; the store is read by a thread of its own. At rest nothing is read: the store is looked
    at when somebody asks for a voice and the last look is older than TTL_S. A look reads the revision, and where that
    is another one, what changed. All who ask at once share one look.

    Where the store fails or is slow, voices that are known stay known.
    """

    def __init__(
        self, store: VoiceStore, on_gone: Callable[[frozenset[str]], None] = lambda recordings: None
    ) -> None:
        """`on_gone` gets the hashes of recordings that no voice has any more."""
        self._store = store
        self._on_gone = on_gone
        self._workers = Workers("voice-snapshot", 1)
        self._index = EMPTY
        self._revision = ""
        self._listed_at = -LISTING_TTL_S
        self._look: asyncio.Task[None] | None = None
        # Times of the monotonic clock at which looks began.
        self._began_at = -TTL_S  # the last one, which may still go on
        self._tried_at: float | None = None  # the last one that ended
        self._seen_at = -TTL_S  # the last one that succeeded
        self._fault: SpeechError | None = None

    def known(self, name: str) -> RegisteredVoice | None:
        """The voice of that id, name or alias as far as is known, without waiting; a look begins where one is due.

        Raises VoiceDamaged.
        """
        self.refresh_soon()
        return self._index.find(name)

    async def known_once_read(self, name: str) -> RegisteredVoice | None:
        """Like `known`, but waits a moment for the very first look. For names that also have another meaning."""
        if self._tried_at is None:
            await self._wait(SHORT_WAIT_S)
        return self.known(name)

    async def find(self, name: str) -> RegisteredVoice | None:
        """The voice of that id, name or alias, None where the store has none.

        Raises VoiceDamaged, and Unavailable where `name` is not known and the store does not tell.
        """
        since = time.monotonic()
        if self._due:
            await self._wait(SHORT_WAIT_S)
        voice = self._index.find(name)
        if voice is None:
            await self._see(since)
            voice = self._index.find(name)
        return voice

    async def cards(self) -> tuple[VoiceCard, ...]:
        """All voices, oldest first; none where the store has failed from the start."""
        if self._due:
            await self._wait(LONGEST_WAIT_S if self._tried_at is None else SHORT_WAIT_S)
        return self._index.cards

    async def refresh(self) -> None:
        """See what the store holds now. Raises Unavailable where it does not tell."""
        await self._see(time.monotonic())

    def refresh_soon(self) -> None:
        """Begin a look where one is due."""
        if self._due:
            self._begin()

    @property
    def _due(self) -> bool:
        return self._tried_at is None or time.monotonic() - self._tried_at > TTL_S

    async def _see(self, since: float) -> None:
        """Wait for a look that began at `since` or later: an earlier one may have missed what was there by then."""
        while self._seen_at < since:
            began_at = await self._wait(LONGEST_WAIT_S)
            if self._tried_at is None or self._tried_at < began_at:
                raise self._store.not_answering(LONGEST_WAIT_S)
            if self._fault is not None:
                raise copy.copy(self._fault)

    async def _wait(self, wait_s: float) -> float:
        """Wait for a look until it is `wait_s` old, which costs only those who come early; says when it began."""
        look, began_at = self._begin(), self._began_at
        left_s = began_at + wait_s - time.monotonic()
        if left_s > 0:
            await asyncio.wait({look}, timeout=left_s)
        return began_at

    def _begin(self) -> asyncio.Task[None]:
        """The look that goes on, or a new one."""
        if self._look is None or self._look.done():
            self._began_at = time.monotonic()
            self._look = asyncio.create_task(self._read(self._began_at))
        return self._look

    async def _read(self, began_at: float) -> None:
        """Never raises."""
        list_all = began_at - self._listed_at >= LISTING_TTL_S
        try:
            revision, index = await self._workers.run(
                partial(self._scan, self._revision, self._index, list_all=list_all)
            )
        except SpeechError as error:
            if self._fault is None:
                logger.warning("registered voices are used as they were known last: %s", error.message)
            self._fault = error
        else:
            if self._fault is not None:
                logger.info("the voice store answers again")
            self._fault = None
            self._seen_at = began_at
            if list_all or revision != self._revision:
                self._listed_at = began_at
            gone = self._index.recordings - index.recordings
            self._revision, self._index = revision, index
            if gone:
                self._on_gone(gone)
        self._tried_at = began_at

    def _scan(self, revision: str, index: VoiceIndex, *, list_all: bool) -> tuple[str, VoiceIndex]:
        # The revision first: what changes after it is found by the next look.
        now = self._store.revision()
        return now, index if now == revision and not list_all else self._store.index(index)
