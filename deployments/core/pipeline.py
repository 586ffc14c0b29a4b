"""What every family of models offers, and how it is found from its `kind` in the configuration."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import ValidationError

import deployments
from deployments.core.catalogue import ModelCard, VoiceCard
from deployments.core.metrics import StageMonitor
from deployments.core.settings import Settings
from deployments.core.speech import AudioChunk, SpeechRequest, StreamEnd

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle


@dataclass(frozen=True, slots=True)
class Plan:
    """A request as one model will run it: voice resolved, text checked, parameters validated."""

    request: SpeechRequest
    voice: VoiceCard
    tempo: (
        float  # time stretch left to be done after synthesis; 1.0 where the model speaks at the wanted speed
    )
    voice_cache: str | None = None
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()  # for the client, told before the first audio


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a model expects at its present load, from what it learnt of its stages."""

    first_audio_s: float  # of a request that would come now, its wait included
    audio_s_per_s: float  # that it makes in all
    full: bool = False  # a request that came now would be refused


class Pipeline(Protocol):
    """Drives the stages of one model for one request at a time; holds handles, no weights.

    `deployments/<kind>/pipeline.py` offers a class of this shape named `Pipeline`, which may inherit from this one.
    Nothing else in the graph knows the model.
    """

    Settings: ClassVar[type[Settings]]
    card: ModelCard
    voices: tuple[VoiceCard, ...]
    """Those that come with the model, known without a call to a stage."""
    monitor: StageMonitor

    def __init__(self, name: str, settings: Any, stages: Mapping[str, DeploymentHandle[Any]]) -> None: ...

    @classmethod
    def deployments(cls, name: str, settings: Any) -> dict[str, Application]:
        """Bound deployments by stage name. Touches no files: it may run on a node without weights."""

    @classmethod
    def check_files(cls, settings: Any) -> None:
        """Raise CheckpointError, with the command that fixes it, if files of the model are missing here."""

    @classmethod
    def device_bytes(cls, name: str, settings: Any) -> dict[str, int]:
        """About how much GPU memory one replica of each deployment takes, by its name. The files are there."""
        return {}

    def forecast(self) -> Forecast | None:
        """For the routing policy, without a call to a stage; None where nothing is known yet."""
        return None

    async def warm_up(self) -> None:
        """Called once, in the background, before the first request: measure what the stages take."""
        return

    async def ready(self) -> bool:
        """Whether every stage answers."""

    async def plan(self, request: SpeechRequest) -> Plan:
        """Check everything that can be checked before a model works. Raises SpeechError."""

    def stream(self, plan: Plan) -> AsyncGenerator[AudioChunk | StreamEnd, None]:
        """Audio in order, then one StreamEnd. Closing the generator stops all work for the request."""


def find_kind(kind: str) -> type[Pipeline]:
    """The pipeline class of a `kind`: a family of this package, or (with a dot) any importable module of your own.

    Raises ValueError if there is no such module.
    """
    if not re.fullmatch(r"[A-Za-z_][\w.]*", kind):
        raise ValueError(f"kind {kind!r} is not the name of a module")
    place = kind if "." in kind else f"deployments.{kind}.pipeline"
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and f"{place}.".startswith(f"{error.name}."):
            raise ValueError(
                f"kind {kind!r}: there is no module {place}; the kinds are {', '.join(families())}, or a module "
                "of your own with a dot in its name"
            ) from None
        raise
    found: type[Pipeline] | None = getattr(module, "Pipeline", None)
    if found is None or module is importlib.import_module(__name__):
        raise ValueError(f"kind {kind!r}: module {place} has no class Pipeline")
    return found


def families() -> list[str]:
    """The families of this package: folders with a `pipeline.py`, without importing them."""
    folders = pkgutil.iter_modules(deployments.__path__)
    return [
        folder.name
        for folder in folders
        if folder.name != "core"
        and importlib.util.find_spec(f"deployments.{folder.name}.pipeline") is not None
    ]


def parse_model(name: str, entry: Mapping[str, Any]) -> tuple[type[Pipeline], Settings]:
    """Pipeline class and validated settings of one `models` entry. Raises ValueError with the place in it."""
    rest = dict(entry)
    kind = rest.pop("kind", None)
    if not isinstance(kind, str):
        raise ValueError(f"models.{name}: `kind` is missing; it is one of {', '.join(families())}")
    pipeline = find_kind(kind)
    try:
        return pipeline, pipeline.Settings(**rest)
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError(f"models.{name}: " + "; ".join(lines)) from None
