"""How a request says with what emotion to speak: `emotion: {…}`, or the flat names of other servers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Emotion
from serve_app.http.fields import DATA_URL, MAX_TEXT_CHARS, Decimal, read_recording, validated, without_nulls

Weight = Annotated[float, Field(ge=0, le=1.2, allow_inf_nan=False)]
Vector = Annotated[
    list[Weight],
    Field(
        min_length=8,
        max_length=8,
        description="happy, angry, sad, afraid, disgusted, melancholic, surprised, calm; 0 to 1.2 each",
    ),
]
Text = Annotated[
    str, Field(min_length=1, max_length=MAX_TEXT_CHARS, description="a description of the emotion")
]
Audio = Annotated[str, Field(description=f"a recording to take the emotion from: {DATA_URL}")]
Alpha = Annotated[Decimal, Field(ge=0, le=1, allow_inf_nan=False, description="strength")]


class EmotionBody(BaseModel):
    """One of vector, audio and text. Unknown names are errors here: nothing else belongs into this object."""

    model_config = ConfigDict(extra="forbid", strict=True)

    vector: Vector | None = None
    audio: Audio | None = None
    text: Text | None = None
    alpha: Alpha | None = None
    random: bool = Field(False, description="any example of each emotion, not the one nearest to the voice")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: Any) -> Any:
        return without_nulls(values)

    def emotion(self) -> Emotion:
        """Raises InvalidRequest unless there is exactly one source."""
        self.check_sources("emotion.")
        return self.read("emotion.")

    @property
    def sources(self) -> list[str]:
        return [name for name in ("vector", "audio", "text") if getattr(self, name) is not None]

    def check_sources(self, prefix: str) -> None:
        """Raises InvalidRequest that names fields with `prefix`."""
        if not self.sources:
            raise InvalidRequest("emotion: needs one of vector, audio and text", param="emotion")
        if len(self.sources) > 1:
            named = " and ".join(prefix + name for name in self.sources)
            raise InvalidRequest(
                f"{named} exclude each other; give one of them", param=prefix + self.sources[0]
            )
        if self.random and self.audio is not None:
            raise InvalidRequest(
                f"{prefix}random: goes with vector and text, not with audio", param=f"{prefix}random"
            )

    def read(self, prefix: str) -> Emotion:
        """With its recording decoded. Raises SpeechError."""
        return Emotion(
            vector=tuple(self.vector) if self.vector is not None else None,
            text=self.text,
            audio=read_recording(self.audio, f"{prefix}audio") if self.audio is not None else None,
            alpha=1.0 if self.alpha is None else self.alpha,
            random=self.random,
        )


class FlatEmotion(BaseModel):
    """The same as fields of the request itself, for clients of vLLM-Omni and of the model's own server."""

    emo_vector: Vector | None = None
    emo_audio: Audio | None = None
    emo_text: Text | None = None
    emo_alpha: Alpha | None = None

    @property
    def flat_emotion(self) -> Emotion | None:
        """None where no source is named: a strength alone changes nothing. Raises InvalidRequest."""
        body = EmotionBody(
            vector=self.emo_vector,
            audio=self.emo_audio,
            text=self.emo_text,
            alpha=self.emo_alpha,
            random=False,
        )
        if not body.sources:
            return None
        body.check_sources("emo_")
        return body.read("emo_")


def check_emotion(emotion: Emotion) -> None:
    """Refuse what no body of HTTP may hold, in an emotion that did not come by HTTP. Raises InvalidRequest."""
    given = {
        "vector": None if emotion.vector is None else list(emotion.vector),
        "audio": None if emotion.audio is None else "",  # not a URL, but there
        "text": emotion.text,
        "alpha": emotion.alpha,
        "random": emotion.random,
    }
    validated(given, EmotionBody).check_sources("emotion.")
