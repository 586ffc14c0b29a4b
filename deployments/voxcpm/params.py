"""What a request may choose about VoxCPM: parameters with their ranges, called as in the published package."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deployments.core import settings
from deployments.voxcpm.dims import MAX_EULER_STEPS

Cloning = Literal["prompt", "reference", "both"]


class Params(settings.Params):
    """One class for the configured defaults, requests and jobs (voxcpm.md 7, 8)."""

    cfg_value: float = Field(
        default=2.0,
        ge=0,
        le=10,
        allow_inf_nan=False,
        description="guidance: how closely text and voice are followed; 1: none",
    )
    inference_timesteps: int = Field(
        default=10,
        ge=1,
        le=MAX_EULER_STEPS,
        description="Euler steps from noise to a patch of sound; time grows with them",
    )
    min_len: int = Field(
        default=2, ge=0, le=4096, description="patches of a segment after which it may end, and two more"
    )
    max_len: int = Field(
        default=4096,
        ge=1,
        le=4096,
        description="patches of a segment at most; its text bounds them as well: 6 for each token, and 10",
    )
    cloning: Cloning | None = Field(
        default=None,
        description="what is taken of a recording: `prompt`, it is continued, for which its transcript is needed; "
        "`reference`, its voice alone (version 2); `both`; null: as much as version and transcript allow",
    )
    continue_segments: bool = Field(
        default=False,
        description="each segment of a long text continues the one before, not only the voice: steadier in tone, but "
        "what goes wrong is continued, too",
    )
