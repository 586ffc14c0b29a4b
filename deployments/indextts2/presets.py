"""Quality presets, and the single knobs that override them, as one request will use them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from deployments.core.errors import InvalidRequest
from deployments.indextts2.gpt.job import Sampling
from serve_app.config import Settings


class Preset(Settings):
    """What `quality` stands for. The values here are the reference implementation's (indextts2-front.md 7.1)."""

    diffusion_steps: int = Field(default=25, ge=1, le=50)
    guidance: float = Field(default=0.7, ge=0, le=5, description="0 halves the work of S2Mel")
    num_beams: int = Field(
        default=3, ge=1, le=8, description="with more than one, codes come at the end of a segment only"
    )
    temperature: float = Field(default=0.8, ge=0, le=100, description="0: the likeliest code")
    top_k: int = Field(default=30, ge=0, description="0: off")
    top_p: float = Field(default=0.8, ge=0, le=1)
    repetition_penalty: float = Field(default=10.0, ge=1, le=100)
    length_penalty: float = Field(default=0.0, ge=-10, le=10)
    max_codes: int = Field(default=1500, ge=1, description="per segment; 50 are a second")
    whole_segments: bool = Field(default=False, description="never cut a segment into chunks")


class Fast(Preset):
    diffusion_steps: int = Field(default=6, ge=1, le=50)
    num_beams: int = Field(default=1, ge=1, le=8)


class Balanced(Preset):
    diffusion_steps: int = Field(default=12, ge=1, le=50)
    num_beams: int = Field(default=1, ge=1, le=8)


class Reference(Preset):
    whole_segments: bool = True


class Presets(Settings):
    fast: Fast = Fast()
    balanced: Balanced = Balanced()
    reference: Reference = Reference()

    def named(self, quality: str) -> Preset:
        """Raises InvalidRequest for a name that there is not."""
        if quality not in type(self).model_fields:
            allowed = ", ".join(type(self).model_fields)
            raise InvalidRequest(f"quality {quality!r} is not one of {allowed}", param="quality")
        preset: Preset = getattr(self, quality)
        return preset


@dataclass(frozen=True, slots=True)
class Knob:
    low: float
    high: float
    whole: bool = False

    def read(self, name: str, value: object) -> float:
        """Raises InvalidRequest unless `value` is a number within the limits."""
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not self.low <= number <= self.high or (self.whole and number != int(number)):
            kind = "a whole number" if self.whole else "a number"
            raise InvalidRequest(
                f"{name} must be {kind} from {self.low:g} to {self.high:g}, not {value!r}", param=name
            )
        return int(number) if self.whole else float(number)


KNOBS = {
    "diffusion_steps": Knob(1, 50, whole=True),
    "guidance": Knob(0, 5),
    "num_beams": Knob(1, 8, whole=True),
    "temperature": Knob(0, 100),
    "top_k": Knob(0, 10_000, whole=True),
    "top_p": Knob(0, 1),
    "repetition_penalty": Knob(1, 100),
    "length_penalty": Knob(-10, 10),
    "typical_mass": Knob(0.01, 0.999),
}
MIN_TEMPERATURE = 0.01
MIN_TEXT_TOKENS = 10


@dataclass(frozen=True, slots=True)
class Controls:
    """How one request is synthesised."""

    steps: int
    guidance: float
    sampling: Sampling
    max_text_tokens: int
    whole_segments: bool


def resolve_controls(
    preset: Preset,
    knobs: Mapping[str, float | int | str],
    *,
    max_text_tokens: int,
    text_limit: int,
    codes_limit: int,
) -> tuple[Controls, tuple[str, ...]]:
    """The preset with the request's knobs put in, and the knobs that this model does not have.

    The limits are those of the checkpoint: defaults give way to them, a request that asks for more is refused.
    Raises InvalidRequest naming the knob and what is allowed.
    """
    allowed = {**KNOBS, **_limits(text_limit, codes_limit)}
    given = {name: allowed[name].read(name, value) for name, value in knobs.items() if name in allowed}
    value = preset.model_dump() | {
        "typical_mass": None,
        "max_codes": min(preset.max_codes, codes_limit),
        "max_text_tokens_per_segment": min(max_text_tokens, text_limit),
        **given,
    }
    if 0 < value["temperature"] < MIN_TEMPERATURE:
        raise InvalidRequest(f"temperature must be 0 or at least {MIN_TEMPERATURE}", param="temperature")
    greedy = value["temperature"] == 0
    sampling = Sampling(
        sample=not greedy,
        beams=value["num_beams"],
        top_k=value["top_k"],
        top_p=value["top_p"],
        temperature=1.0 if greedy else value["temperature"],
        repetition_penalty=value["repetition_penalty"],
        length_penalty=value["length_penalty"],
        typical_mass=value["typical_mass"],
        max_codes=value["max_codes"],
    )
    controls = Controls(
        steps=value["diffusion_steps"],
        guidance=value["guidance"],
        sampling=sampling,
        max_text_tokens=value["max_text_tokens_per_segment"],
        whole_segments=value["whole_segments"],
    )
    return controls, tuple(sorted(set(knobs) - set(allowed)))


def _limits(text_limit: int, codes_limit: int) -> dict[str, Knob]:
    return {
        "max_codes": Knob(1, codes_limit, whole=True),
        "max_text_tokens_per_segment": Knob(min(MIN_TEXT_TOKENS, text_limit), text_limit, whole=True),
    }
