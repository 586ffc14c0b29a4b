"""What a client may say about speech (specs/http-api.md 5): the body of `POST /v1/audio/speech`, and the part of it
that batches and sessions share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Emotion, SpeechRequest
from serve_app.audio.encoders import MAX_RATE_HZ, MIN_RATE_HZ
from serve_app.http.emotion import DATA_URL, EmotionBody, FlatEmotion
from serve_app.http.knobs import Knobs
from serve_app.http.recordings import read_recording

MAX_INSTRUCTIONS_CHARS = 4096
EXTRA_PARAMS = (*FlatEmotion.model_fields, *Knobs.model_fields)


def _voice_name(value: object) -> object:
    """OpenAI's clients send a voice as a name or as {"id": name}."""
    if isinstance(value, dict) and set(value) == {"id"}:
        return value["id"]
    return value


VoiceName = Annotated[str, BeforeValidator(_voice_name), Field(min_length=1, max_length=200)]


class SpeechSettings(Knobs, FlatEmotion):
    """How to speak, whatever the text.

    Unknown fields are accepted, because SDKs and benchmarks send their own, and reported in `X-Ignored-Fields`.
    """

    model_config = ConfigDict(extra="allow", strict=True, populate_by_name=True)

    model: str = Field(
        "auto", max_length=200, description="a model, an alias (tts-1, …) or auto, fast, quality"
    )
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
    instructions: str | None = Field(
        None,
        max_length=MAX_INSTRUCTIONS_CHARS,
        description="how to speak; a description of the emotion to models that know emotions",
    )
    language: str | None = Field(
        None, pattern=r"^[a-z]{2}$", description="ISO 639-1; default: told from the script"
    )
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    ref_audio: str | None = Field(None, description=f"speak with the voice of this recording: {DATA_URL}")
    ref_text: str | None = Field(None, max_length=4096, description="what is said in ref_audio")
    emotion: EmotionBody | None = None
    extra_params: dict[str, Any] | None = Field(
        None, description="the same as fields of the request itself: " + ", ".join(EXTRA_PARAMS)
    )
    pause_ms: float | None = Field(None, ge=0, le=5000, allow_inf_nan=False, description="between segments")
    latency_budget_ms: float | None = Field(None, gt=0, allow_inf_nan=False)
    fallback: bool = Field(True, description="may use another model before the first byte")

    @model_validator(mode="before")
    @classmethod
    def _null_voice_is_no_voice(cls, values: Any) -> Any:
        # Else `"voice": null` would win over `speaker`.
        if isinstance(values, dict) and values.get("voice", "") is None:
            return {name: value for name, value in values.items() if name != "voice"}
        return values

    @model_validator(mode="before")
    @classmethod
    def _unpack_extra_params(cls, values: Any) -> Any:
        extra = values.get("extra_params") if isinstance(values, dict) else None
        if not isinstance(extra, dict):
            return values
        known = {name: value for name, value in extra.items() if name in EXTRA_PARAMS}
        for name in known.keys() & values.keys():
            raise InvalidRequest(
                f"extra_params.{name}: {name} is given beside extra_params as well", param=name
            )
        return {**values, **known, "extra_params": {n: v for n, v in extra.items() if n not in known}}

    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that change nothing, whatever the model."""
        names = [*(self.model_extra or {}), *(f"extra_params.{name}" for name in self.extra_params or {})]
        if self.ref_audio is not None and self.voice is not None:
            names.append("voice")
        if self.emo_alpha is not None and self.emotion is None and self.flat_emotion is None:
            names.append("emo_alpha")
        return tuple(sorted(names))

    def request_for(self, text: str, request_id: str) -> SpeechRequest:
        """Raises SpeechError for fields that contradict each other and recordings that cannot be read."""
        if self.ref_text is not None and self.ref_audio is None:
            raise InvalidRequest(
                "ref_text: says what is spoken in ref_audio, which is missing", param="ref_text"
            )
        return SpeechRequest(
            request_id=request_id,
            text=text,
            model=self.model,
            voice=self.voice if self.ref_audio is None else None,
            language=self.language,
            speed=self.speed,
            seed=self.seed,
            reference_audio=None if self.ref_audio is None else read_recording(self.ref_audio, "ref_audio"),
            reference_text=self.ref_text,
            emotion=self._emotion(),
            instructions=self.instructions,
            quality=self.quality,
            knobs=self.knobs,
            pause_ms=self.pause_ms,
            latency_budget_ms=self.latency_budget_ms,
            fallback=self.fallback,
            stream=self.stream,
        )

    def _emotion(self) -> Emotion | None:
        flat = self.flat_emotion
        if self.emotion is None:
            return flat
        if flat is not None or self.emo_alpha is not None:
            raise InvalidRequest("emotion: given twice, as an object and as emo_…", param="emotion")
        return self.emotion.emotion()


class SpeechBody(SpeechSettings):
    input: str = Field(description="the text to speak")

    def request(self, request_id: str) -> SpeechRequest:
        """Raises SpeechError for fields that contradict each other and recordings that cannot be read."""
        return self.request_for(self.input, request_id)
