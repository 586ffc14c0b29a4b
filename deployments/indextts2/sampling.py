"""What a request may choose about IndexTTS: parameters with their ranges, and the presets that `quality` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from deployments.core import settings
from deployments.core.errors import InvalidRequest
from deployments.core.settings import Settings

MAX_BEAMS = 8
MIN_TEMPERATURE = 0.01  # below it scores overflow; 0 itself means the likeliest code
TIES = 16  # candidates looked at beyond those needed: equal scores are ordered by code, not by chance


class Params(settings.Params):
    """One class for presets, requests and jobs. The defaults are the reference's (indextts2-front.md 7.1)."""

    diffusion_steps: int = Field(
        default=25, ge=1, le=50, description="steps from noise to sound; time grows with them"
    )
    guidance: float = Field(
        default=0.7,
        ge=0,
        le=5,
        allow_inf_nan=False,
        description="classifier-free guidance; 0 halves the time per step",
    )
    num_beams: int = Field(
        default=3,
        ge=1,
        le=MAX_BEAMS,
        description="beams of the search for codes; with more than one, codes come late in a segment",
    )
    temperature: float = Field(
        default=0.8, ge=0, le=100, allow_inf_nan=False, description="below 1: tamer; 0: the likeliest code"
    )
    top_k: int = Field(default=30, ge=0, le=10_000, description="candidates that are sampled from; 0: off")
    top_p: float = Field(
        default=0.8,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of the probability that is sampled from",
    )
    typical_mass: float | None = Field(
        default=None,
        ge=0.01,
        le=0.999,
        allow_inf_nan=False,
        description="mass of the typical filter; null: off",
    )
    repetition_penalty: float = Field(default=10.0, ge=1, le=100, allow_inf_nan=False, description="1: off")
    length_penalty: float = Field(
        default=0.0, ge=-10, le=10, allow_inf_nan=False, description="of beams: above 0 longer ones win"
    )
    max_codes: int = Field(default=1500, ge=1, description="of one segment of text")
    max_text_tokens_per_segment: int | None = Field(
        default=None,
        ge=10,
        le=1000,
        description="longer text is spoken in pieces; null: as the server is configured",
    )
    whole_segments: bool = Field(
        default=False, description="never cut a segment into chunks, and cut the text exactly as published"
    )

    @field_validator("temperature")
    @classmethod
    def _not_too_cold(cls, temperature: float) -> float:
        if 0 < temperature < MIN_TEMPERATURE:
            raise ValueError(f"must be 0 or at least {MIN_TEMPERATURE}")
        return temperature

    @property
    def samples(self) -> bool:
        """Whether codes are drawn; else the likeliest is taken."""
        return self.temperature > 0

    @property
    def network_rows(self) -> int:
        """Rows of each evaluation of the flow's network: guidance needs a second one."""
        return 2 if self.guidance > 0 else 1

    @property
    def kept_candidates(self) -> int:
        """Candidates per row that no filter may take away (7.2)."""
        return 2 if self.num_beams > 1 else 1

    @property
    def step_candidates(self) -> int:
        """Candidates that one step needs over all rows (7.3)."""
        return 2 * self.num_beams if self.num_beams > 1 else 1

    def shortlist_width(self, vocabulary: int) -> int:
        """Best scores per row that can still matter after all filters: a function of the parameters alone."""
        if not self.samples:
            needed = self.step_candidates
        elif self.top_k:
            needed = max(self.top_k, self.kept_candidates)
        else:
            needed = vocabulary
        return min(vocabulary, needed + TIES)


class Presets(Settings):
    """What the values of `quality` stand for. A preset in a configuration names only what differs from here."""

    fast: Params = Params(diffusion_steps=6, num_beams=1)
    balanced: Params = Params(diffusion_steps=12, num_beams=1)
    reference: Params = Params(whole_segments=True)

    @field_validator("*", mode="before")
    @classmethod
    def _over_the_default(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, Mapping):
            return value
        assert info.field_name is not None
        default: Params = cls.model_fields[info.field_name].default
        return {**default.model_dump(), **value}

    def named(self, quality: str) -> Params:
        """Raises InvalidRequest for a name that there is not."""
        if quality not in type(self).model_fields:
            allowed = ", ".join(type(self).model_fields)
            raise InvalidRequest(f"quality {quality!r} is not one of {allowed}", param="quality")
        preset: Params = getattr(self, quality)
        return preset
