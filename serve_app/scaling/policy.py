"""The autoscaling policy of the graph, which Serve's controller calls. Named in the config file by its import path.

Serve pickles this module by value, so it holds little: what decides is in `replicas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployments.core.metrics import CAPACITY, WORK
from serve_app.scaling.crowd import Crowd, crowds
from serve_app.scaling.replicas import StageState, wanted_replicas
from serve_app.scaling.settings import INGRESS, ROUTER, PolicySettings, owner

if TYPE_CHECKING:
    from ray.serve._private.common import DeploymentID
    from ray.serve.config import AutoscalingContext

    Contexts = Mapping[DeploymentID, AutoscalingContext]
    Wanted = dict[DeploymentID, float]

ALWAYS_THERE = Crowd(speaking=1.0)  # who takes requests never sleeps


class ByStageLoad:
    """Every stage follows its own load, and the stages of a model heed each other; see `wanted_replicas`.

    Bounds, delays and factors of each deployment's `autoscaling_config` are applied by Serve. `settings`: what
    `policy_kwargs` of the config file may say; see PolicySettings.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = PolicySettings(**settings)

    def __call__(self, contexts: Contexts) -> tuple[Wanted, dict[DeploymentID, dict[str, Any]]]:
        """Replicas by deployment, and no state. A deployment that is left out keeps its number."""
        by_name = {context.deployment_name: context for context in contexts.values()}
        keys = {context.deployment_name: key for key, context in contexts.items()}
        wanted: Wanted = {}
        for name in (INGRESS, ROUTER):
            if name in by_name:
                wanted[keys[name]] = self._wanted([_state(by_name[name])], ALWAYS_THERE)[name]
        told = crowds(by_name[ROUTER].aggregated_metrics or {}) if ROUTER in by_name else {}
        for model, crowd in told.items():
            stages = [_state(each) for name, each in by_name.items() if owner(name, told) == model]
            wanted.update({keys[name]: count for name, count in self._wanted(stages, crowd).items()})
        return wanted, {}

    def _wanted(self, stages: list[StageState], crowd: Crowd) -> dict[str, float]:
        return wanted_replicas(stages, crowd, self._settings.target_load) if stages else {}


def _state(context: AutoscalingContext) -> StageState:
    running, target = context.current_num_replicas, context.target_num_replicas
    return StageState(context.deployment_name, running, target, _load(context))


def _load(context: AutoscalingContext) -> float | None:
    """In the capacities of one replica; of Ingress, which Serve wraps, by its requests."""
    if context.deployment_name == INGRESS and context.config is not None:
        return float(context.total_num_requests / context.config.get_target_ongoing_requests())
    told = context.aggregated_metrics or {}
    work, capacity = told.get(WORK, {}), told.get(CAPACITY, {})
    shares = [work[replica] / capacity[replica] for replica in work if capacity.get(replica)]
    return sum(shares) if shares else None
