"""Which voice a request means: a registered one, one that comes with the checkpoint, or a recording it brings along."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deployments.core import speech as core
from deployments.core.errors import InvalidRequest, NotFound
from deployments.voices.decode import decode_reference
from deployments.voices.library import Encode, Outcome, VoiceLibrary
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voices.voice import Voice
from serve_app.config import OPENAI_VOICES

KIND = "indextts"  # profiles are told apart by the version of the weights, not by a configured name
STOCK_FOLDER = "voices"
STOCK_TYPES = (".wav", ".flac", ".mp3", ".ogg")
ONE_OFF = "reference-audio"


@dataclass(frozen=True, slots=True)
class Resolved:
    """`stock` recordings are the operator's, so their profiles may be kept on disk like those of registered ones."""

    voice: core.Voice
    source: Voice | ReferenceAudio
    stock: bool = False


class Voices:
    """The voices of one model. A registered voice hides a stock voice of that name, which hides an alias."""

    def __init__(self, model: str, checkpoint: Path, aliases: Mapping[str, str], default: str | None) -> None:
        """Without `aliases` the names of OpenAI's voices are spread over the stock voices."""
        self._model = model
        folder = checkpoint / STOCK_FOLDER
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        self._stock = {path.stem: path for path in files if path.suffix.lower() in STOCK_TYPES}
        names = list(self._stock)
        spread = {alias: names[i % len(names)] for i, alias in enumerate(OPENAI_VOICES)} if names else {}
        self._aliases = dict(aliases) or spread
        self.default = default or (names[0] if names else "")

    @property
    def stock(self) -> list[core.Voice]:
        """Those that come with the checkpoint; registered voices belong to all models that clone."""
        return [self._stock_voice(name) for name in self._stock]

    async def resolve(self, request: core.SpeechRequest, library: VoiceLibrary) -> Resolved:
        """Raises NotFound (code "voice_not_found"), or what decoding a recording raises."""
        if request.reference_audio is not None:
            audio = await asyncio.to_thread(decode_reference, request.reference_audio)
            return Resolved(core.Voice(ONE_OFF, ONE_OFF, self._model, core.ANY_LANGUAGE), audio)
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
            return Resolved(self._registered_voice(found), found)
        if name not in self._stock:
            raise NotFound(
                f"voice {request.voice or name!r} does not exist in model {self._model!r}; "
                "GET /v1/audio/voices lists all",
                param="voice",
                code="voice_not_found",
            )
        data = await asyncio.to_thread(self._stock[name].read_bytes)
        audio = await asyncio.to_thread(decode_reference, data, param="voice")
        return Resolved(self._stock_voice(name), audio, stock=True)

    async def profile(
        self, wanted: Resolved | Voice, library: VoiceLibrary, model_version: str, encode: Encode
    ) -> tuple[VoiceProfile, Outcome]:
        """From RAM, disk or the encoder; a stock voice is encoded once per store, like a registered one."""
        source = wanted.source if isinstance(wanted, Resolved) else wanted
        profile, outcome = await library.profile(source, KIND, model_version, encode)
        if isinstance(wanted, Resolved) and wanted.stock and outcome == "miss":
            await asyncio.to_thread(library.store.profiles.save, profile)
        return profile, outcome

    @staticmethod
    async def _registered(name: str, library: VoiceLibrary) -> Voice | None:
        try:
            return await library.find(name)
        except NotFound:
            return None

    def _stock_voice(self, name: str) -> core.Voice:
        aliases = tuple(alias for alias, target in self._aliases.items() if target == name)
        return core.Voice(
            name, name.replace("_", " ").title(), self._model, core.ANY_LANGUAGE, aliases=aliases
        )

    def _registered_voice(self, voice: Voice) -> core.Voice:
        return core.Voice(
            voice.id, voice.name, self._model, voice.language or core.ANY_LANGUAGE, uploaded=True
        )
