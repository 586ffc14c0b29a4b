"""The body of `POST /v1/audio/speech` (specs/http-api.md 5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from deployments.core import SpeechRequest
from serve_app.audio.encoders import MAX_RATE_HZ, MIN_RATE_HZ

MAX_INSTRUCTIONS_CHARS = 4096


def _voice_name(value: object) -> object:
    """OpenAI's clients send a voice as a name or as {"id": name}."""
    if isinstance(value, dict) and set(value) == {"id"}:
        return value["id"]
    return value


VoiceName = Annotated[str, BeforeValidator(_voice_name), Field(min_length=1, max_length=200)]


class SpeechBody(BaseModel):
    """Unknown fields are accepted, because SDKs and benchmarks send their own, and reported in `X-Ignored-Fields`."""

    model_config = ConfigDict(extra="allow", strict=True, populate_by_name=True)

    model: str = Field(
        "auto", max_length=200, description="a model, an alias (tts-1, …) or auto, fast, quality"
    )
    input: str = Field(description="the text to speak")
    voice: VoiceName | None = Field(
        None,
        validation_alias=AliasChoices("voice", "speaker", "speaker_id"),
        description="see GET /v1/audio/voices; the default follows the language of the text",
    )
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0, allow_inf_nan=False)
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="false: one buffered answer with exact sizes")
    sample_rate: int | None = Field(None, ge=MIN_RATE_HZ, le=MAX_RATE_HZ)
    instructions: str | None = Field(None, max_length=MAX_INSTRUCTIONS_CHARS)
    language: str | None = Field(
        None, pattern=r"^[a-z]{2}$", description="ISO 639-1; default: told from the script"
    )
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    pause_ms: float | None = Field(None, ge=0, le=5000, allow_inf_nan=False, description="between segments")
    latency_budget_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    fallback: bool = Field(True, description="may use another model before the first byte")

    @property
    def ignored(self) -> tuple[str, ...]:
        return tuple(sorted(self.model_extra or {}))

    def request(self, request_id: str) -> SpeechRequest:
        return SpeechRequest(
            request_id=request_id,
            text=self.input,
            model=self.model,
            voice=self.voice,
            language=self.language,
            speed=self.speed,
            seed=self.seed,
            pause_ms=self.pause_ms,
            latency_budget_ms=self.latency_budget_ms,
            fallback=self.fallback,
            stream=self.stream,
        )
