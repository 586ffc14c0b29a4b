"""What the overlays serve: the repository's configurations, unchanged, and fit for a cluster."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from k8s_render import (
    OVERLAYS,
    REPOSITORY,
    ray_service_spec,
    serve_config,
    serve_configs_module,
    worker_groups,
)
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

from serve_app.app import build
from serve_app.config import Config
from serve_app.config_file import unknown_keys

by_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@dataclass(frozen=True)
class Running:
    """A deployment as it runs: the options of the code, overridden by those of the configuration."""

    name: str
    replicas: int  # at most
    surge_percent: int
    shutdown_timeout_s: float
    resources: dict[str, Any]
    scales: bool

    @property
    def replicas_during_an_update(self) -> int:
        return self.replicas + math.ceil(self.replicas * self.surge_percent / 100)


def _running(overlay: str) -> list[Running]:
    (app,) = serve_config(overlay)["applications"]
    overrides = {deployment["name"]: deployment for deployment in app["deployments"]}
    found = []
    for deployment in build_app(build(Config(**app["args"])), name=app["name"]).deployments:
        options = deployment._deployment_config
        override = overrides.pop(deployment.name, {})
        scaling = override.get("autoscaling_config")
        replicas = scaling["max_replicas"] if scaling else override.get("num_replicas", options.num_replicas)
        found.append(
            Running(
                name=deployment.name,
                replicas=replicas,
                surge_percent=override.get("max_surge_percent", options.max_surge_percent),
                shutdown_timeout_s=override.get(
                    "graceful_shutdown_timeout_s", options.graceful_shutdown_timeout_s
                ),
                resources=override.get("ray_actor_options", deployment.ray_actor_options),
                scales=scaling is not None,
            )
        )
    assert not overrides, f"the application has no deployment {', '.join(overrides)}"
    return found


def test_every_overlay_is_generated() -> None:
    assert set(serve_configs_module().OVERLAYS) == set(OVERLAYS)
    assert {path.name for path in (REPOSITORY / "k8s" / "overlays").iterdir()} == set(OVERLAYS)


@by_overlay
def test_the_overlay_carries_its_configuration_unchanged(overlay: str) -> None:
    generator = serve_configs_module()
    config = generator.OVERLAYS[overlay]
    text = generator.in_a_pod((REPOSITORY / "configs" / config).read_text("utf-8"))
    patch = (REPOSITORY / "k8s" / "overlays" / overlay / "serve-config.yaml").read_text("utf-8")
    assert patch == generator.patch_text(config, text), f"configs/{config} changed: run `make k8s`"
    assert ray_service_spec(overlay)["serveConfigV2"] == text
    assert yaml.safe_load(text)["http_options"]["host"] == "0.0.0.0"


def test_a_configuration_survives_the_patch() -> None:
    text = "# ü 中 \"'|\n\na:\n  - {b: '1'}   # end\nlong: " + "x y " * 400 + "z\n"
    patch = serve_configs_module().patch_text("any.yaml", text)
    assert yaml.safe_load(patch)["spec"]["serveConfigV2"] == text


def test_text_that_a_patch_would_alter_is_refused() -> None:
    with pytest.raises(ValueError, match="one line end"):
        serve_configs_module().patch_text("any.yaml", "a: 1\n\n\n")


@by_overlay
def test_the_overlay_serves_what_its_worker_is_for(overlay: str) -> None:
    (application,) = serve_config(overlay)["applications"]
    devices = {name: entry.get("device") for name, entry in application["args"]["models"].items()}
    gpus = {running.name: running.resources.get("num_gpus", 0) for running in _running(overlay)}
    limits = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"] for group in worker_groups(overlay)
    ]
    if not any("nvidia.com/gpu" in each for each in limits):
        assert not any(device == "cuda" for device in devices.values())
        assert not any(gpus.values())
        return
    on_card = [name for name, device in devices.items() if device == "cuda"]
    assert on_card, "a card is reserved, and no model computes on it"
    for model in on_card:
        shares = [share for name, share in gpus.items() if name == model or name.startswith(f"{model}-")]
        assert all(shares), f"a stage of {model} computes on a card that Ray has not given it"


@by_overlay
def test_serve_knows_every_key(overlay: str) -> None:
    config = serve_config(overlay)
    ServeDeploySchema.model_validate(config)
    assert unknown_keys(config) == []


@pytest.mark.parametrize("key", ["num_replica", "max_ongoing", "graceful_shutdown_timeout"])
def test_misspelled_options_are_found(key: str) -> None:
    config = copy.deepcopy(serve_config("cpu"))
    config["applications"][0]["deployments"][0][key] = 2
    (found,) = unknown_keys(config)
    assert key in found


@by_overlay
def test_the_workers_answer_on_the_port_that_kuberay_probes(overlay: str) -> None:
    config = serve_config(overlay)
    assert config["http_options"]["host"] == "0.0.0.0", "clients come over the pod's address"
    assert config["http_options"]["port"] == 8000
    # With HeadOnly no worker ever becomes ready, and the head is not in the service: nothing would answer.
    assert config.get("proxy_location", "EveryNode") == "EveryNode"


@by_overlay
def test_no_replica_can_land_on_the_head(overlay: str) -> None:
    for running in _running(overlay):
        # An actor that needs nothing may be placed on a node that has nothing, and the head has num-cpus 0.
        assert running.resources.get("num_cpus", 1) > 0, running.name


@by_overlay
def test_streams_outlive_updates_and_drains(overlay: str) -> None:
    longest_stream_s = serve_config(overlay)["http_options"]["request_timeout_s"]
    for running in _running(overlay):
        assert running.shutdown_timeout_s >= longest_stream_s, running.name
    for group in worker_groups(overlay):
        pod = group["template"]["spec"]
        environment = {entry["name"]: entry["value"] for entry in pod["containers"][0]["env"]}
        drain_s = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert longest_stream_s <= drain_s < pod["terminationGracePeriodSeconds"]
    assert ray_service_spec(overlay)["rayClusterDeletionDelaySeconds"] > longest_stream_s


@by_overlay
def test_an_update_starts_the_successor_first(overlay: str) -> None:
    for running in _running(overlay):
        # What fills the one card of its worker has no room for a successor; docs/kubernetes.md says so.
        fills_card = running.resources.get("num_gpus", 0) > 0 and not running.scales
        if running.scales:
            assert running.surge_percent > 0, running.name
            continue
        assert running.replicas > 1 or running.surge_percent == (0 if fills_card else 100), (
            f"{running.name}: an outage while it loads"
        )


@by_overlay
@pytest.mark.parametrize(
    ("resource", "limit", "default"), [("num_cpus", "cpu", 1), ("num_gpus", "nvidia.com/gpu", 0)]
)
def test_the_workers_hold_all_replicas_and_their_successors(
    overlay: str, resource: str, limit: str, default: float
) -> None:
    for group in worker_groups(overlay):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        there = group["maxReplicas"] * float(limits.get(limit, 0))
        needed = sum(
            running.replicas_during_an_update * running.resources.get(resource, default)
            for running in _running(overlay)
            if running.resources.get("label_selector") == group.get("labels")
        )
        assert needed <= there, f"an update needs {needed} {limit}, the {group['groupName']} have {there}"
