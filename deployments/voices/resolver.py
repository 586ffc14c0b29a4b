"""Which voice a request means: a registered one, one that comes with the model, or a recording it brings along."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from deployments.core.catalogue import ANY_LANGUAGE, OPENAI_VOICES, VoiceCard
from deployments.core.errors import InvalidRequest, NotFound
from deployments.core.speech import SpeechRequest
from deployments.voices.library import VoiceLibrary
from deployments.voices.reference import Recording, read_stock_recording
from deployments.voices.registered_voice import RegisteredVoice
from deployments.voices.workers import Workers

STOCK_TYPES = (".wav", ".flac", ".mp3", ".ogg")
ONE_OFF = "reference-audio"
CHECK_S = 1.0  # a stock recording is looked at so often, to see whether it was replaced


@dataclass(frozen=True, slots=True)
class ResolvedVoice:
    """`warnings` are about a recording that the request brought; others were checked when they came."""

    card: VoiceCard
    recording: Recording
    warnings: tuple[str, ...] = ()


class VoiceResolver:
    """The voices of one model that clones. A registered voice hides a stock voice of that name, which hides an alias.

    Stock voices are the recordings in a folder of the checkpoint, each called like its file; what is said in one stands
    in the text file of that name beside it, if there is one.
    """

    def __init__(
        self,
        model: str,
        folder: Path,
        *,
        aliases: Mapping[str, str],
        default: str | None,
        reference_warnings: Callable[[float], tuple[str, ...]],
    ) -> None:
        """Without `aliases` the names of OpenAI's voices are spread over the stock voices. `reference_warnings` says
        what the model does not hear of a recording of so many seconds. Lists `folder`, which need not exist."""
        self._model = model
        self._reference_warnings = reference_warnings
        # Not the threads that decode what strangers send, nor those that may be waiting for a store.
        self._reading = Workers("voice-stock", 1)
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        paths = {path.stem: path for path in files if path.suffix.lower() in STOCK_TYPES}
        names = list(paths)
        spread = {alias: names[i % len(names)] for i, alias in enumerate(OPENAI_VOICES)} if names else {}
        self._aliases = dict(aliases) or spread
        self._stock = {name: _StockVoice(path, self._stock_card(name)) for name, path in paths.items()}
        self.default = default or (names[0] if names else "")
        self.stock_cards = tuple(voice.card for voice in self._stock.values())

    async def resolve(self, request: SpeechRequest, library: VoiceLibrary) -> ResolvedVoice:
        """Raises NotFound (code "voice_not_found"), InvalidRequest where no voice is named and the model has no
        default, Unavailable where only a store that does not work could tell, or what decoding a recording raises."""
        if request.reference_audio is not None:
            return await self._one_off(request.reference_audio, request.reference_text or "", library)
        name = request.voice or self.default
        if not name:
            raise InvalidRequest(
                f"model {self._model!r} has no default voice; send `voice` or `ref_audio`", param="voice"
            )
        found = await self._registered(name, library)
        if found is None and name not in self._stock and name in self._aliases:
            name = self._aliases[name]
            found = await self._registered(name, library)
        if found is not None:
            return ResolvedVoice(replace(found.card, model=self._model), Recording.of(found))
        stock = self._stock.get(name)
        if stock is None:
            raise NotFound(
                f"voice {request.voice or name!r} does not exist in model {self._model!r}; "
                "GET /v1/audio/voices lists all",
                param="voice",
                code="voice_not_found",
            )
        return ResolvedVoice(stock.card, await stock.recording(self._reading))

    async def _registered(self, name: str, library: VoiceLibrary) -> RegisteredVoice | None:
        """Names that the model has a voice for do not wait for the store: nobody can register them, except before the
        model came."""
        if name in self._stock or name in self._aliases:
            return await library.registered.known_once_read(name)
        return await library.registered.find(name)

    async def _one_off(self, data: bytes, reference_text: str, library: VoiceLibrary) -> ResolvedVoice:
        found = await library.one_offs.check(data, reference_text)
        card = VoiceCard(ONE_OFF, ONE_OFF, self._model, ANY_LANGUAGE)
        warnings = (*found.warnings, *self._reference_warnings(found.duration_s))
        return ResolvedVoice(card, found.recording, warnings)

    def _stock_card(self, name: str) -> VoiceCard:
        aliases = tuple(alias for alias, target in self._aliases.items() if target == name)
        return VoiceCard(name, name.replace("_", " ").title(), self._model, ANY_LANGUAGE, aliases=aliases)


class _StockVoice:
    """Hashed once for each state of its file."""

    def __init__(self, path: Path, card: VoiceCard) -> None:
        self.card = card
        self._path = path
        self._lock = threading.Lock()
        self._checked_at = 0.0
        self._state: tuple[tuple[int, int] | None, ...] = ()
        self._recording: Recording | None = None

    async def recording(self, workers: Workers) -> Recording:
        """Raises SpeechError where the file cannot be read."""
        if self._recording is None or time.monotonic() - self._checked_at > CHECK_S:
            return await workers.run(self._check)
        return self._recording

    def _check(self) -> Recording:
        with self._lock:
            transcript = self._path.with_suffix(".txt")
            state = _state(self._path), _state(transcript)
            if self._recording is None or (state[0] is not None and state != self._state):
                digest = hashlib.sha256(read_stock_recording(self._path)).hexdigest()
                said = read_stock_recording(transcript).decode("utf-8", "replace") if state[1] else ""
                self._recording, self._state = Recording(digest, self._path, said.strip()), state
            self._checked_at = time.monotonic()
            return self._recording


def _state(path: Path) -> tuple[int, int] | None:
    """None where the file is gone, as while a checkpoint is replaced: then its last profile serves."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
