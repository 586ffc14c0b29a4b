"""The whole graph on one page: configuration in, bound Serve application out."""

# No `from __future__ import annotations` here: Serve reads the type of `config` to validate the YAML's `args`.
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.core.pipeline import parse_model
from deployments.core.stages import HEALTH_PERIOD_S, HEALTH_TIMEOUT_S, LONGEST_STREAM_S, MAX_ONGOING
from serve_app.config import Config
from serve_app.ingress import Ingress
from serve_app.router import Router

# Neither computes; what they may hold at once is bounded by `limits`, which answers in OpenAI's error shape.
LIGHT: dict[str, Any] = {
    "ray_actor_options": {"num_cpus": 0.1},
    "max_ongoing_requests": MAX_ONGOING,
    "graceful_shutdown_timeout_s": LONGEST_STREAM_S,
    "health_check_period_s": HEALTH_PERIOD_S,
    "health_check_timeout_s": HEALTH_TIMEOUT_S,
    "max_surge_percent": 100,
}


def build(config: Config) -> Application:
    """Ingress → Router → the stages of every model.

    `deployments` in the YAML file overrides options by name: Ingress, Router, and each model's stages (`<model>`; or
    `<model>-<stage>` for models of several stages). Raises ValueError for an unknown kind or setting.
    """
    stages = {}
    for name, entry in config.models.items():
        pipeline, settings = parse_model(name, entry)
        stages[name] = pipeline.deployments(name, settings)
    router = serve.deployment(name="Router", **LIGHT)(Router).bind(config, stages)
    ingress = serve.deployment(name="Ingress", max_queued_requests=200, **LIGHT)(serve.ingress()(Ingress))
    return ingress.bind(router, config.limits, config.cors_origins, config.auth)
