"""The four deployments of one IndexTTS2 model."""

from __future__ import annotations

from typing import Any

from ray import serve

from deployments.indextts2.gpt.deployment import Gpt
from deployments.indextts2.s2mel.deployment import S2Mel
from deployments.indextts2.settings import IndexTTSSettings
from deployments.indextts2.speaker.deployment import SpeakerEncoderStage
from deployments.indextts2.vocoder.deployment import Vocoder

COMMON: dict[str, Any] = {
    "health_check_period_s": 2,
    "graceful_shutdown_timeout_s": 310,
    "max_surge_percent": 100,
}
SPARE = 16  # health checks, statistics and calls that are about to be refused pass beside a full queue


def bind_stages(name: str, settings: IndexTTSSettings) -> dict[str, Any]:
    """Named `<name>-speaker`, `-gpt`, `-s2mel`, `-vocoder`; `deployments` of the YAML sets replicas and GPU shares.

    Waiting belongs into the stages, which order it by deadline: Serve's own queue would be first come.
    """

    def stage(kind: type, suffix: str, ongoing: int, arguments: dict[str, Any], num_cpus: float) -> Any:
        deployment = serve.deployment(
            name=f"{name}-{suffix}",
            max_ongoing_requests=ongoing,
            ray_actor_options={"num_cpus": num_cpus},
            **COMMON,
        )
        return deployment(kind).bind(settings.checkpoint, settings.device, **arguments)

    speaker, gpt, s2mel, vocoder = settings.speaker, settings.gpt, settings.s2mel, settings.vocoder
    return {
        "speaker": stage(SpeakerEncoderStage, "speaker", 64, speaker.model_dump(), 0.2),
        "gpt": stage(Gpt, "gpt", gpt.slots + gpt.max_waiting + SPARE, gpt.model_dump(), 0.5),
        "s2mel": stage(S2Mel, "s2mel", s2mel.max_rows + s2mel.max_waiting + SPARE, s2mel.model_dump(), 0.5),
        "vocoder": stage(Vocoder, "vocoder", 256, vocoder.model_dump(), 0.2),
    }
