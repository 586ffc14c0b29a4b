"""The typed configuration: everything an operator may change, checked before anything starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from deployments.core.settings import Settings
from deployments.voices.store import DEFAULT_URL
from serve_app.observe.settings import ObserveSettings
from serve_app.routing.names import POLICIES
from serve_app.routing.rules import RoutingSettings

LOCAL_ORIGINS = tuple(
    f"{scheme}://{host}:*" for host in ("localhost", "127.0.0.1", "[::1]") for scheme in ("http", "https")
)
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/*?#]+(:\*)?")
OPENAI_MODEL_ALIASES = {"tts-1": "fast", "tts-1-hd": "quality", "gpt-4o-mini-tts": "auto"}


class Limits(Settings):
    """What one deployment of the graph accepts. Beyond these a client gets 400, 413 or 429, at once."""

    max_input_chars: int = Field(4096, ge=1, description="longest text of one request, in characters")
    max_body_bytes: int = Field(12_000_000, ge=1024, description="largest request body")
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        allow_inf_nan=False,
        description="408 where a request body takes longer and comes at less than 16 kB a second",
    )
    max_requests: int = Field(
        256,
        ge=1,
        description="requests that one model holds, waiting ones included, per router replica; how many are spoken at "
        "the same time follows from what the model makes in time",
    )
    retry_after_s: float = Field(
        2.0, gt=0, allow_inf_nan=False, description="what a rejected client is told to wait"
    )
    first_audio_timeout_s: float = Field(
        60.0, gt=0, description="504 if no audio exists so long after the request came"
    )
    piece_timeout_s: float = Field(
        15.0,
        gt=0,
        allow_inf_nan=False,
        description="a stream that has begun is cut where nothing more comes for so long; more where one piece takes "
        "longer to make, as with a large model on a CPU",
    )
    drain_timeout_s: float = Field(
        30.0,
        ge=0,
        allow_inf_nan=False,
        description="how long `voicegraph serve` lets streams go on after the first Ctrl-C or SIGTERM",
    )
    max_utterances: int = Field(8, ge=1, description="of a session, begun and not yet spoken")
    remote_audio_hosts: tuple[str, ...] = Field(
        (),
        description="hosts from which `ref_audio` may be fetched by https: names, *.example.com, or * for every "
        "public one; none",
    )
    session_idle_timeout_s: float = Field(
        300.0, gt=0, allow_inf_nan=False, description="a session without a message either way ends"
    )


class InPlace(Settings):
    """`user_config` of the Router and the Ingress: what may change while streams run, without a new replica.

    `voicegraph serve` takes it from `args`; where others deploy the file, it stands in `deployments` itself.
    """

    limits: Limits


class VoiceSettings(Settings):
    """Where uploaded voices are kept. Replicas that name the same place share them."""

    url: str = Field(DEFAULT_URL, description="a directory, or any address that fsspec knows (s3://…)")
    ram_bytes: int = Field(512_000_000, ge=0, description="profiles kept in memory, per router replica")
    max_voices: int = Field(1000, ge=0, description="registered voices; 0 refuses uploads")
    preload: tuple[str, ...] = Field((), description="voices (id, name or alias) made ready at start")


class AuthSettings(Settings):
    """Who may use the server. Without either place of keys: whoever reaches it."""

    keys_file: str | None = Field(
        None, description="made by `voicegraph keys`; a change holds within a second"
    )
    env: str | None = Field(
        None, description="instead: name of the environment variable that has the content of such a file"
    )
    private_voices: bool = Field(
        False, description="an uploaded voice is seen and used by the key alone that it came with"
    )

    @property
    def on(self) -> bool:
        return self.keys_file is not None or self.env is not None

    @property
    def keys_path(self) -> Path | None:
        return None if self.keys_file is None else Path(self.keys_file).expanduser()

    @model_validator(mode="after")
    def _one_place(self) -> AuthSettings:
        if self.keys_file is not None and self.env is not None:
            raise ValueError("keys_file and env are two places of keys; name one")
        if self.private_voices and not self.on:
            raise ValueError("private_voices: belong to keys; name keys_file or env, too")
        # Replicas run in folders of Ray's choice.
        if self.keys_path is not None and not self.keys_path.is_absolute():
            raise ValueError(f"keys_file: {self.keys_file!r} is relative; begin it with / or ~")
        return self


class Config(Settings):
    """`args` of the Serve application (configs/*.yaml)."""

    models: dict[str, dict[str, Any]] = Field(
        description="name -> {kind: <folder in deployments>, …}; the rest of an entry is checked by that kind"
    )
    optional: tuple[str, ...] = Field(
        (),
        description="models that `voicegraph serve` leaves out, with a word, where their files are neither here nor "
        "to be pulled",
    )
    default_model: str | None = Field(None, description="the model of `auto` where nothing else decides")
    model_aliases: dict[str, str] = Field(
        default_factory=lambda: dict(OPENAI_MODEL_ALIASES),
        description="further names for a model, or for a policy: auto, fast, quality",
    )
    cold_start_s: dict[str, float] = Field(
        default_factory=dict,
        description="models that may have no replica at rest (`min_replicas: 0` of all their stages), and how many "
        "seconds they take to start; corrected by what is measured",
    )
    limits: Limits = Field(default_factory=Limits)  # type: ignore[arg-type]
    routing: RoutingSettings = Field(default_factory=RoutingSettings)  # type: ignore[arg-type]
    voices: VoiceSettings = Field(default_factory=VoiceSettings)  # type: ignore[arg-type]
    observe: ObserveSettings = Field(default_factory=ObserveSettings)  # type: ignore[arg-type]
    auth: AuthSettings = Field(default_factory=AuthSettings)  # type: ignore[arg-type]
    cors_origins: tuple[str, ...] = Field(
        LOCAL_ORIGINS,
        description="pages that may call the server from a browser: https://host, https://host:* for any port, or *; "
        "[] for none",
    )

    @model_validator(mode="after")
    def _names_exist(self) -> Config:
        if not self.models:
            raise ValueError("models: at least one model is needed")
        if clash := self.models.keys() & set(POLICIES):
            raise ValueError(f"models: {min(clash)!r} is the name of a policy; choose another")
        known = {*self.models, *POLICIES}
        for alias, target in self.model_aliases.items():
            if alias in self.models:
                raise ValueError(f"model_aliases: {alias!r} is also the name of a model")
            if target not in known:
                raise ValueError(f"model_aliases: {alias!r} points to {target!r}; known are {sorted(known)}")
        if unknown := [name for name in self.optional if name not in self.models]:
            raise ValueError(f"optional: {unknown[0]!r} is not one of {sorted(self.models)}")
        for name, seconds in self.cold_start_s.items():
            if name not in self.models:
                raise ValueError(f"cold_start_s: {name!r} is not one of {sorted(self.models)}")
            if not 0 < seconds < float("inf"):
                raise ValueError(f"cold_start_s: {seconds} is no time in seconds for {name!r} to start")
        for origin in self.cors_origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors_origins: {origin!r} is not an origin such as https://example.com, without a path"
                )
        self.routing.check(self.models)
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model: {self.default_model!r} is not one of {sorted(self.models)}")
        return self
