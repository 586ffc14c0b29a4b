"""Sizes of the IndexTTS networks, as the official config.yaml names them (tests/specs/indextts2-config.yaml)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from deployments.core.errors import CheckpointError
from deployments.indextts2.traits import TWO, Traits

# GPT rows between speaker and text; zeros where the model has no table of them (indextts2.5-delta.md 3).
SPEED_ROWS = 2

T = TypeVar("T")


@dataclass(frozen=True)
class CodecDims:
    """Semantic codec.

    `hidden_size` is also the width W of the semantic features (indextts2-front.md 4, 13).
    """

    codebook_size: int
    hidden_size: int
    codebook_dim: int
    vocos_dim: int
    vocos_intermediate_dim: int
    vocos_num_layers: int


@dataclass(frozen=True)
class ConditionDims:
    """One conditioning encoder: conformer and the perceiver behind it (indextts2-front.md 5)."""

    output_size: int
    linear_units: int
    attention_heads: int
    num_blocks: int
    perceiver_mult: int


@dataclass(frozen=True)
class GptDims:
    """Trunk and tables (indextts2-front.md 6)."""

    model_dim: int
    layers: int
    heads: int
    max_mel_tokens: int
    max_text_tokens: int
    number_text_tokens: int
    number_mel_codes: int
    start_mel_token: int
    stop_mel_token: int
    start_text_token: int
    stop_text_token: int
    condition_num_latent: int = 32  # rows that stand for the speaker
    traits: Traits = TWO


@dataclass(frozen=True)
class ConditionerDims:
    """What makes the speaker's rows and the emotion vector. Without `speaker` the row is a projection of the style."""

    model_dim: int
    rows: int  # of the speaker
    width: int  # of the semantic features, and of the emotion perceiver (indextts2-front.md 13)
    style: int
    emotion: ConditionDims
    speaker: ConditionDims | None


def dims_from(kind: type[T], section: Mapping[str, Any], where: str) -> T:
    """Fill a dims dataclass from a section of config.yaml; keys it does not know are left alone.

    Raises CheckpointError naming the keys that are missing or not whole numbers.
    """
    names = [field.name for field in fields(kind) if field.type in (int, "int")]  # type: ignore[arg-type]
    values = {name: section[name] for name in names if name in section}
    wrong = [name for name, value in values.items() if type(value) is not int]
    if wrong:
        raise CheckpointError(f"{where}: {', '.join(wrong)} must be whole numbers")
    try:
        return kind(**values)
    except TypeError as error:
        raise CheckpointError(f"{where}: {error}") from error
