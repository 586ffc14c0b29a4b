"""Recordings that requests bring along instead of naming a voice."""

from __future__ import annotations

import copy
import hashlib
import threading
from dataclasses import dataclass
from functools import partial

from cachetools import TTLCache

from deployments.core.errors import SpeechError
from deployments.voices.decode import MAX_BYTES, decode_reference
from deployments.voices.reference import Recording, ReferenceAudio
from deployments.voices.registered_voice import UNUSED_TRANSCRIPT
from deployments.voices.workers import Workers

PARAM = "ref_audio"
REMEMBERED = 1024
REMEMBERED_S = (
    600.0  # not for ever: a recording may have been refused because the machine was too busy to decode it
)


@dataclass(frozen=True, slots=True)
class OneOff:
    recording: Recording
    duration_s: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    duration_s: float
    warnings: tuple[str, ...]
    shortened: bool


class OneOffRecordings:
    """Each is decoded once to find what is wrong with it; when it comes again, its hash tells."""

    def __init__(self, decoding: Workers) -> None:
        self._decoding = decoding
        self._seen: TTLCache[str, _Found | SpeechError] = TTLCache(REMEMBERED, REMEMBERED_S)
        self._lock = threading.Lock()

    async def check(self, data: bytes, reference_text: str) -> OneOff:
        """Raises what `decode_reference` raises."""
        return await self._decoding.run(partial(self._check, data, reference_text))

    def _check(self, data: bytes, reference_text: str) -> OneOff:
        if len(data) > MAX_BYTES:  # refused before it is hashed
            decode_reference(data, param=PARAM)
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock:
            seen = self._seen.get(sha256)
        audio: ReferenceAudio | None = None
        if seen is None:
            try:
                audio = decode_reference(data, param=PARAM)
                seen = _Found(audio.duration_s, audio.warnings, audio.shortened)
            except SpeechError as error:
                seen = error
            with self._lock:
                self._seen[sha256] = seen
        if isinstance(seen, SpeechError):
            raise copy.copy(seen)
        warnings = seen.warnings
        if seen.shortened and reference_text.strip():
            reference_text, warnings = "", (*warnings, UNUSED_TRANSCRIPT)
        return OneOff(Recording(sha256, data, reference_text, audio), seen.duration_s, warnings)
