"""The speed and sampling levers of a request. Which of them a model has is the matter of its pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


def _number(low: float, high: float, description: str) -> object:
    return Field(ge=low, le=high, allow_inf_nan=False, description=description)


class Knobs(BaseModel):
    """Without a value, the model's preset for `quality` decides."""

    quality: Literal["fast", "balanced", "reference"] | None = Field(
        None, description="preset of the levers below; reference: the model exactly as published"
    )
    diffusion_steps: (
        Annotated[int, _number(1, 50, "steps from noise to sound; time grows with them")] | None
    ) = None
    guidance: (
        Annotated[float, _number(0, 5, "classifier-free guidance; 0 halves the time per step")] | None
    ) = None
    num_beams: Annotated[int, _number(1, 8, "beams of the search for codes")] | None = None
    top_k: Annotated[int, _number(0, 10_000, "0: off")] | None = None
    top_p: Annotated[float, _number(0, 1, "share of the probability that is sampled from")] | None = None
    temperature: Annotated[float, _number(0, 100, "below 1: tamer; 0: the likeliest code")] | None = None
    repetition_penalty: Annotated[float, _number(1, 100, "1: off")] | None = None
    max_text_tokens_per_segment: (
        Annotated[int, _number(10, 1000, "longer text is spoken in pieces")] | None
    ) = None

    @property
    def knobs(self) -> dict[str, float | int | str]:
        """What the client set, without `quality`."""
        names = Knobs.model_fields.keys() - {"quality"}
        return {name: value for name in sorted(names) if (value := getattr(self, name)) is not None}
