"""What every model's pipeline offers, and how it is found from its `kind` in the configuration."""

from __future__ import annotations

import importlib
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from pydantic import ValidationError
from ray.serve.handle import DeploymentHandle

from deployments.core.speech import AudioChunk, ModelCard, SpeechRequest, StreamEnd, Voice
from deployments.voices.library import Outcome, VoiceLibrary
from deployments.voices.voice import Voice as RegisteredVoice
from serve_app.config import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """A request as one model will run it: voice resolved, text checked, knobs validated."""

    request: SpeechRequest
    voice: Voice
    tempo: (
        float  # time stretch left to be done after synthesis; 1.0 where the model speaks at the wanted speed
    )
    voice_cache: str | None = None
    ignored: tuple[str, ...] = ()


class Pipeline(Protocol):
    """Drives the stages of one model for one request at a time; holds handles, no weights.

    A module `deployments/<kind>/pipeline.py` offers one class named `Pipeline` of this shape. Nothing else in the
    graph knows the model.
    """

    Settings: ClassVar[type[Settings]]

    def __init__(self, name: str, settings: Any, stages: Mapping[str, DeploymentHandle]) -> None: ...

    @classmethod
    def deployments(cls, name: str, settings: Any) -> dict[str, Any]:
        """Bound deployments by stage name. Touches no files: it may run on a node without weights."""

    @classmethod
    def check_files(cls, settings: Any) -> None:
        """Raise CheckpointError, with the command that fixes it, if files of the model are missing here."""

    @property
    def card(self) -> ModelCard: ...

    async def voices(self) -> list[Voice]: ...

    async def ready(self) -> bool:
        """Whether every stage answers."""

    async def plan(self, request: SpeechRequest) -> Plan:
        """Check everything that can be checked without a model. Raises SpeechError."""

    def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """Audio in order, then one StreamEnd. Closing the generator stops all work for the request."""


class CloningPipeline(Pipeline, Protocol):
    """What a pipeline offers as well if its card says `cloning`: uploaded voices belong to all such models."""

    def use_library(self, library: VoiceLibrary) -> None:
        """Called once, before the first request: where uploaded voices and all profiles are kept."""

    async def prepare_voice(self, voice: RegisteredVoice) -> Outcome:
        """Get the profile of an uploaded voice ready; says where it was found. Raises SpeechError."""

    def reference_warnings(self, duration_s: float) -> tuple[str, ...]:
        """What whoever uploads a recording of `duration_s` should know about how this model uses it."""


def find_kind(kind: str) -> type[Pipeline]:
    """The pipeline class of a `kind`: a family of this package, or (with a dot) any importable module of your own.

    Raises ValueError if there is no such module.
    """
    if not re.fullmatch(r"[A-Za-z_][\w.]*", kind) or kind == "base":
        raise ValueError(f"kind {kind!r} is not the name of a module")
    place = kind if "." in kind else f"deployments.{kind}.pipeline"
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and place.startswith(error.name):
            raise ValueError(f"kind {kind!r}: there is no module {place}") from None
        raise
    found: type[Pipeline] | None = getattr(module, "Pipeline", None)
    if found is None:
        raise ValueError(f"kind {kind!r}: module {place} has no class Pipeline")
    return found


def parse_model(name: str, entry: Mapping[str, Any]) -> tuple[type[Pipeline], Settings]:
    """Pipeline class and validated settings of one `models` entry. Raises ValueError with the place in it."""
    rest = dict(entry)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str):
        raise ValueError(f"models.{name}: `kind` is missing (the name of a folder in deployments)")
    pipeline = find_kind(kind)
    try:
        return pipeline, pipeline.Settings(**rest)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"models.{name}: " + "; ".join(lines)) from None
