"""What the replicas of a graph ask of a machine. Serve waits for room without end and without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serve_app.config_file import ConfigFile

# Ray's name of a resource: what people call it, and the option that asks for it.
NAMES = {"CPU": ("CPUs", "num_cpus"), "GPU": ("GPUs", "num_gpus")}
LARGEST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Demand:
    """A deployment, how many replicas it starts with, and what each of them asks for."""

    deployment: str
    replicas: int
    cpus: float
    gpus: float

    def total(self, resource: str) -> float:
        return self.replicas * self.each(resource)

    def each(self, resource: str) -> float:
        return self.gpus if resource == "GPU" else self.cpus


def demands(config: ConfigFile) -> list[Demand]:
    """Of every deployment of the graph, with the file's `deployments` in force."""
    overrides = {
        entry.name: entry.model_dump(exclude_unset=True) for entry in config.serve.applications[0].deployments
    }
    found = []
    for name, deployment in config.deployments.items():
        override = overrides.get(name, {})
        options = override.get("ray_actor_options", deployment.ray_actor_options) or {}
        # Ray reserves one CPU unless it is told otherwise.
        cpus, gpus = float(options.get("num_cpus", 1)), float(options.get("num_gpus", 0))
        found.append(Demand(name, _first_replicas(override, deployment.num_replicas), cpus, gpus))
    return found


def _first_replicas(override: Mapping[str, Any], otherwise: int) -> int:
    """Replicas that a deployment starts with: a number, or where autoscaling begins."""
    replicas = override.get("num_replicas")
    if isinstance(replicas, int):
        return replicas
    if replicas != "auto" and "autoscaling_config" not in override:
        return otherwise
    scaling = override.get("autoscaling_config") or {}
    initial = scaling.get("initial_replicas")
    return int(scaling.get("min_replicas", 1) if initial is None else initial)


def lacking(demanded: Sequence[Demand], offered: Mapping[str, float]) -> list[str]:
    """Why replicas that ask for `demanded` don't all fit into `offered` (Ray's `cluster_resources`); empty if they may.

    They may still not: whether fractions fit onto single GPUs is Ray's to find out.
    """
    problems = []
    for resource, (name, option) in NAMES.items():
        asked, there = sum(demand.total(resource) for demand in demanded), offered.get(resource, 0.0)
        if asked <= there + 1e-6:
            continue
        largest = sorted(demanded, key=lambda demand: -demand.total(resource))[:LARGEST_SHOWN]
        listed = ", ".join(
            f"{demand.deployment} {demand.total(resource):g} ({demand.replicas} × {demand.each(resource):g})"
            for demand in largest
            if demand.total(resource)
        )
        problems.append(
            f"the graph asks for {asked:g} {name} and this machine offers {there:g}. Most: {listed}. "
            f"Lower num_replicas or ray_actor_options.{option} of these under `deployments`, "
            "or serve fewer models with --models."
        )
    return problems
