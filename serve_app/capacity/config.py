"""From a config file and a costs file to what the plan needs."""

from __future__ import annotations

from serve_app.capacity.costs import Costs, CostsError, ModelCost
from serve_app.capacity.plan import (
    STREAMS_PER_INGRESS,
    UTILISATION,
    CapacityPlan,
    NodeShape,
    Share,
    StageDemand,
    plan,
)
from serve_app.config_file import ConfigFile
from serve_app.demand import demands
from serve_app.scaling.settings import INGRESS, ROUTER, STREAMS_PER_ROUTER, owner

RELAYS = {INGRESS: STREAMS_PER_INGRESS, ROUTER: STREAMS_PER_ROUTER}


def plan_for(
    config: ConfigFile,
    costs: Costs,
    model: str,
    streams: int,
    node: NodeShape,
    utilisation: float = UTILISATION,
) -> CapacityPlan:
    """For listeners of one model of the file, whose stages have the shares that the file gives them.

    Raises CostsError where the model, or a stage of it, was not measured, ValueError where it cannot be placed.
    """
    shares = _shares(config)
    return plan(
        streams,
        stage_demands(config, costs, model),
        [(name, shares[name], carried) for name, carried in RELAYS.items()],
        node,
        transfer_bytes_per_audio_s=_cost(config, costs, model).transfer_bytes_per_audio_s,
        utilisation=utilisation,
    )


def stage_demands(config: ConfigFile, costs: Costs, model: str) -> list[StageDemand]:
    """In the order of the graph. Raises CostsError as `plan_for`."""
    cost, kind = _cost(config, costs, model), config.args.models[model]["kind"]
    found = []
    for name, share in _shares(config).items():
        if owner(name, config.args.models) != model:
            continue
        stage = kind if name == model else name.removeprefix(f"{model}-")
        if stage not in cost.stages:
            raise CostsError(
                f"the costs of {model!r} have no stage {stage!r}; they have {', '.join(sorted(cost.stages))}"
            )
        found.append(StageDemand(name, cost.stages[stage], share))
    return found


def _cost(config: ConfigFile, costs: Costs, model: str) -> ModelCost:
    kind = config.args.models[model]["kind"]
    cost = costs.of((model, kind))
    if cost is None:
        raise CostsError(
            f"the costs have no model {model!r} and no {kind!r}; they have {', '.join(sorted(costs.models))}. "
            "Measure it: voicegraph bench --costs FILE"
        )
    return cost


def _shares(config: ConfigFile) -> dict[str, Share]:
    return {each.deployment: Share(each.cpus, each.gpus) for each in demands(config)}
