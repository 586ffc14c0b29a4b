"""One `models` entry with `kind: kokoro`."""

from __future__ import annotations

from pydantic import Field, field_validator

from deployments.core.settings import Settings

OPENAI_ALIASES = {
    "alloy": "af_alloy",
    "ash": "am_adam",
    "ballad": "bm_fable",
    "cedar": "am_michael",
    "coral": "af_bella",
    "echo": "am_echo",
    "fable": "bm_george",
    "marin": "af_heart",
    "nova": "af_nova",
    "onyx": "am_onyx",
    "sage": "af_sarah",
    "shimmer": "af_sky",
    "verse": "am_puck",
}


class KokoroSettings(Settings):
    checkpoint: str = Field("kokoro", description="name to pull, see `voicegraph models ls`")
    threads: int = Field(2, ge=1, description="CPU threads of one replica")
    longest_wait_s: float = Field(
        20.0,
        gt=0,
        description="a request that would wait longer for its first sound is refused at once with 429",
    )
    max_waiting_segments: int = Field(256, ge=1, description="of new requests; beyond that 429")
    longest_audio_s: float = Field(
        900.0,
        gt=0,
        description="at normal speed; a text that takes longer to speak is refused with 400, whatever its characters",
    )
    default_voices: dict[str, str] = Field(
        {"en": "af_heart", "zh": "zf_xiaobei"}, description="voice by language"
    )
    voice_aliases: dict[str, str] = Field(default_factory=lambda: dict(OPENAI_ALIASES))
    glossary: str | None = Field(
        None,
        description="a YAML file of terms and how they are read, `TERM: READING` or `TERM: {zh: READING, en: READING}`",
    )
    warm_languages: tuple[str, ...] = Field(("en", "zh"), description="dictionaries loaded at start")

    @field_validator("default_voices")
    @classmethod
    def _speaks_english(cls, voices: dict[str, str]) -> dict[str, str]:
        if "en" not in voices:
            raise ValueError("a voice for 'en' is needed, which also stands in for languages without one")
        return voices
