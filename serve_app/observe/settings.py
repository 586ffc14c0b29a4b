"""What an operator may choose about metrics and logs."""

from __future__ import annotations

from pydantic import Field

from deployments.core.settings import Settings


class ObserveSettings(Settings):
    """What is reported beside the audio."""

    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="of this machine, where `voicegraph serve` gives metrics at /metrics; null: the HTTP port + 1000",
    )
    slow_first_audio_s: float | None = Field(
        5.0,
        gt=0,
        allow_inf_nan=False,
        description="a first audio that takes longer is told in the log, with the stage to blame; null: none is",
    )
