"""What a client may say about speech (docs/specs/http-api.md 5): the body of `POST /v1/audio/speech`, and the part of
it that batches and sessions share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, ConfigDict, Field, model_validator

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Emotion, SpeechRequest
from deployments.voices.workers import Workers
from serve_app.audio.encoders import MAX_RATE_HZ, MIN_RATE_HZ
from serve_app.http.emotion import EmotionBody, FlatEmotion, check_emotion
from serve_app.http.fields import (
    DATA_URL,
    MAX_TEXT_CHARS,
    Decimal,
    Language,
    VoiceName,
    Whole,
    read_recording,
    validated,
    without_nulls,
)

if TYPE_CHECKING:
    from serve_app.http.remote_recording import RemoteRecordings

FLAT_EMOTION = tuple(FlatEmotion.model_fields)
RECORDINGS = Workers("recordings", 2)  # decode what requests bring
MAX_NAME_CHARS = 200
MAX_TAGS = 16
Tag = Annotated[str, Field(min_length=1, max_length=64)]
VOICE_NAMES = ("speaker", "speaker_id")  # further names of `voice`
SAY_NOTHING = ("instructions", "ref_text")  # texts that clients send empty where they have none
INSTEAD = {
    "model": "send a name that GET /v1/models lists, or leave it out for auto",
    **dict.fromkeys(
        ("voice", *VOICE_NAMES),
        "send a name that GET /v1/audio/voices lists, or leave it out for the default voice",
    ),
    "response_format": "send one of mp3, opus, aac, flac, wav, pcm, or leave it out for mp3",
    "stream_format": "send audio or sse, or leave it out for audio",
    "language": "send a code such as en, or leave it out to have it told from the text",
}
ELSE = "leave it out, or send null, for the default"


class SpeechSettings(FlatEmotion):
    """How to speak, whatever the text.

    Further fields are parameters of the model (`parameters` in GET /v1/audio/models), or, because SDKs and benchmarks
    send their own, of nobody: those are reported in `X-Ignored-Fields`.
    """

    model_config = ConfigDict(extra="allow", strict=True, populate_by_name=True)

    model: str = Field(
        "auto", max_length=MAX_NAME_CHARS, description="a model, an alias (tts-1, …) or auto, fast, quality"
    )
    voice: VoiceName | None = Field(
        None,
        validation_alias=AliasChoices("voice", *VOICE_NAMES),
        description="see GET /v1/audio/voices; the default follows the language of the text",
    )
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Decimal = Field(1.0, ge=0.25, le=4.0, allow_inf_nan=False)
    stream_format: Literal["audio", "sse"] = "audio"
    stream: bool = Field(True, description="false: one buffered answer with exact sizes")
    sample_rate: Whole | None = Field(None, ge=MIN_RATE_HZ, le=MAX_RATE_HZ)
    instructions: str | None = Field(
        None,
        max_length=MAX_TEXT_CHARS,
        description="how to speak; a description of the emotion to models that know emotions",
    )
    language: Language | None = None
    seed: Whole | None = Field(None, ge=0, le=2**63 - 1)
    quality: str | None = Field(
        None,
        max_length=MAX_NAME_CHARS,
        description="one of the model's presets; fast, balanced and reference are the usual ones",
    )
    ref_audio: str | None = Field(None, description=f"speak with the voice of this recording: {DATA_URL}")
    ref_text: str | None = Field(None, max_length=MAX_TEXT_CHARS, description="what is said in ref_audio")
    emotion: EmotionBody | None = None
    extra_params: dict[str, Any] | None = Field(
        None, description="emo_… and parameters of the model, the same as fields of the request itself"
    )
    pause_ms: Decimal | None = Field(None, ge=0, le=5000, allow_inf_nan=False, description="between segments")
    text_cleaning: bool = Field(
        True,
        description="markup (HTML, SSML, Markdown) and emoji are not read out; false: spoken as they are written",
    )
    tags: list[Tag] = Field(
        [], max_length=MAX_TAGS, description="words of your own, which the operator's routing rules may know"
    )
    latency_budget_ms: Decimal | None = Field(None, gt=0, allow_inf_nan=False)
    filler: bool | None = Field(
        None,
        description="may the answer begin with a short interjection in the same voice, where its first audio is not "
        "expected within latency_budget_ms? Default: as the operator's routing rules say",
    )
    fallback: bool | None = Field(
        None,
        description="may another model answer before the first byte? Default: where auto, fast or quality chose the "
        "model yes, where one is named no",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_meant(cls, values: Any) -> Any:
        """Null is absent, nothing that names something is empty, and `extra_params` are unpacked."""
        if not isinstance(values, dict):
            return values
        values = without_nulls(values)
        for name, value in list(values.items()):
            text = value.get("id") if isinstance(value, dict) else value
            if not isinstance(text, str) or text.strip() or name not in (*cls.model_fields, *VOICE_NAMES):
                continue
            if name in SAY_NOTHING:
                del values[name]
            elif name != "input":  # of which the check of texts knows more to say
                raise InvalidRequest(f"{name}: is empty; {INSTEAD.get(name, ELSE)}", param=name)
        return cls._unpacked(values)

    @classmethod
    def _unpacked(cls, values: dict[str, Any]) -> dict[str, Any]:
        extra = without_nulls(values.get("extra_params"))
        if not isinstance(extra, dict):
            return values
        for name in extra.keys() & values.keys():
            raise InvalidRequest(
                f"extra_params.{name}: {name} is given beside extra_params as well", param=name
            )
        own = {name: value for name, value in extra.items() if name in (*FLAT_EMOTION, "quality")}
        return {**values, **own, "extra_params": {n: v for n, v in extra.items() if n not in own}}

    @property
    def params(self) -> dict[str, object]:
        """What may be parameters of the model, which validates them and says what it does not know."""
        given = {**(self.model_extra or {}), **(self.extra_params or {})}
        return {name: _without_content(value) for name, value in given.items()}

    def ignored(self, of_model: tuple[str, ...] = ()) -> list[str]:
        """Fields that changed nothing: `of_model` are those that the model said so of."""
        inside = self.extra_params or {}
        names = [f"extra_params.{name}" if name in inside else name for name in of_model]
        if self.ref_audio is not None and self.voice is not None:
            names.append("voice")
        if self.emo_alpha is not None and self.emotion is None and self.flat_emotion is None:
            names.append("emo_alpha")
        return sorted(names)

    async def request_for(self, text: str, request_id: str, remote: RemoteRecordings) -> SpeechRequest:
        """Raises SpeechError for fields that contradict each other and recordings that cannot be read."""
        fetched: bytes | None = None
        if self.ref_audio is not None and remote.hosts and self.ref_audio[:8].lower() == "https://":
            fetched = await remote.fetch(self.ref_audio, "ref_audio")
        elif self.ref_audio is None and self.emo_audio is None and self.emotion is None:
            return self._request_for(text, request_id, None)
        return await RECORDINGS.run(partial(self._request_for, text, request_id, fetched))

    def _request_for(self, text: str, request_id: str, fetched: bytes | None) -> SpeechRequest:
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
            reference_audio=self._recording() if fetched is None else fetched,
            reference_text=self.ref_text,
            emotion=self._emotion(),
            instructions=self.instructions,
            quality=self.quality,
            params=self.params,
            pause_ms=self.pause_ms,
            text_cleaning=self.text_cleaning,
            sample_rate_hz=self.sample_rate,
            tags=tuple(self.tags),
            latency_budget_ms=self.latency_budget_ms,
            filler=self.filler,
            fallback=self.fallback,
            stream=self.stream,
        )

    def _recording(self) -> bytes | None:
        return None if self.ref_audio is None else read_recording(self.ref_audio, "ref_audio")

    def _emotion(self) -> Emotion | None:
        flat = self.flat_emotion
        if self.emotion is None:
            return flat
        if flat is not None or self.emo_alpha is not None:
            raise InvalidRequest("emotion: given twice, as an object and as emo_…", param="emotion")
        return self.emotion.emotion()


class SpeechBody(SpeechSettings):
    input: str = Field(description="the text to speak")

    async def request(self, request_id: str, remote: RemoteRecordings) -> SpeechRequest:
        """Raises SpeechError for fields that contradict each other and recordings that cannot be read."""
        return await self.request_for(self.input, request_id, remote)


# Fields of SpeechRequest by what HTTP calls them, where both hold the same.
SAME = {name: name for name in SpeechRequest.__dataclass_fields__ if name in SpeechSettings.model_fields} | {
    "reference_text": "ref_text",
    "sample_rate_hz": "sample_rate",
}


def check_request(request: SpeechRequest) -> None:
    """Refuse what no body of HTTP may hold, in a request that did not come by HTTP. Raises InvalidRequest."""
    values = {theirs: getattr(request, ours) for ours, theirs in SAME.items() if ours != "emotion"}
    values["tags"] = list(request.tags)
    validated(values, SpeechSettings)
    if request.emotion is not None:
        check_emotion(request.emotion)


def _without_content(value: object) -> object:
    """Parameters are numbers, switches and words. Of a list or an object, which may be large and nested without end,
    only its kind is carried through the graph: enough to refuse it by name."""
    return type(value)() if isinstance(value, list | dict) else value
