"""What clients may ask for: models and voices as they are listed and chosen from."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ANY_LANGUAGE = "mul"  # ISO 639-2, several languages: a cloned voice speaks all that its model does
# The voices that OpenAI's clients may name; every model answers to them through its `voice_aliases`.
OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)


def fold(name: str) -> str:
    """Names that differ only in case, or in how an accent is written, are the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).strip().casefold())


@dataclass(frozen=True, slots=True)
class VoiceCard:
    """A voice as listed to clients."""

    id: str
    name: str
    model: str  # empty where `uploaded`: every model that clones speaks with such a voice
    language: str
    gender: str | None = None
    uploaded: bool = False
    aliases: tuple[str, ...] = ()
    owner: str = ""  # of an uploaded one: the id of the API key that it came with; empty: it came without

    @property
    def names(self) -> tuple[str, ...]:
        """What a request may call it, beside its name for people."""
        return (self.id, *self.aliases)

    def spelled(self, name: str) -> str | None:
        """The one of `names` that is meant by `name`, in whatever case it is written; None where none is."""
        if name in self.names:
            return name
        return next((own for own in self.names if fold(own) == fold(name)), None)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model declares about itself; the routing policy reads nothing else of it."""

    name: str
    kind: str
    sample_rate_hz: int
    languages: tuple[str, ...]  # ISO 639-1
    default_voice: str
    cloning: bool = False
    cloning_needs_transcript: bool = False  # it must be told what is said in the recording
    emotion: bool = False
    instructions: bool = False  # how to speak, or who speaks, may be said in words
    dialogue: bool = False  # one text of several speakers, spoken as one conversation
    quality_rank: int = 0  # higher sounds better
    description: str = ""
    presets: tuple[str, ...] = ()  # values of `quality`, the default first
    parameters: Mapping[str, Any] = field(default_factory=dict)  # JSON schema of the model's Params


@dataclass(frozen=True, slots=True)
class Catalogue:
    models: tuple[ModelCard, ...]
    voices: tuple[VoiceCard, ...]
    model_aliases: Mapping[str, str]
    default_model: str  # of `auto`, where nothing else decides
