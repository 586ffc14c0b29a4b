from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config_file import load
from serve_app.demand import Demand, demands, lacking
from serve_app.scaling.settings import POLICY

CPU = Path(__file__).parents[3] / "configs" / "cpu.yaml"


def demanded(path: Path, **options: Any) -> Demand:
    """Of kokoro in the default config with these options."""
    changed = yaml.safe_load(CPU.read_text(encoding="utf-8"))
    (application,) = changed["applications"]
    (entry,) = (one for one in application["deployments"] if one["name"] == "kokoro")
    entry.clear()
    entry.update({"name": "kokoro", **options})
    if "autoscaling_config" in options or options.get("num_replicas") == "auto":
        (router,) = (one for one in application["deployments"] if one["name"] == "Router")
        del router["num_replicas"]
        router["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 1}
        application["autoscaling_policy"] = {"policy_function": POLICY}
        if options.get("autoscaling_config", {}).get("min_replicas") == 0:
            application["args"]["cold_start_s"] = {"kokoro": 5}
    path.write_text(yaml.safe_dump(changed), encoding="utf-8")
    (found,) = (one for one in demands(load(path)) if one.deployment == "kokoro")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "replicas", "cpus", "gpus"),
    [
        ({}, 1, 0.5, 0),
        ({"num_replicas": 3}, 3, 0.5, 0),
        ({"num_replicas": "auto"}, 1, 0.5, 0),
        ({"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}, 2, 0.5, 0),
        ({"autoscaling_config": {"min_replicas": 0, "initial_replicas": 3, "max_replicas": 4}}, 3, 0.5, 0),
        ({"ray_actor_options": {"num_cpus": 2, "num_gpus": 0.25}}, 1, 2, 0.25),
        ({"ray_actor_options": {"num_gpus": 1}}, 1, 1, 1),
    ],
)
def test_what_the_file_says_is_in_force(
    tmp_path: Path, options: dict[str, Any], replicas: int, cpus: float, gpus: float
) -> None:
    assert demanded(tmp_path / "config.yaml", **options) == Demand("kokoro", replicas, cpus, gpus)


def test_the_default_config_fits_on_two_cores() -> None:
    assert lacking(demands(load(CPU)), {"CPU": 2.0}) == []


def test_what_asks_for_most_is_named_first() -> None:
    asked = [Demand("small", 1, 0.5, 0), Demand("large", 3, 1, 0.5), Demand("none", 1, 0, 0)]
    (cpus, gpus) = lacking(asked, {"CPU": 2.0})
    assert "asks for 3.5 CPUs and this machine offers 2. Most: large 3 (3 × 1), small 0.5 (1 × 0.5). " in cpus
    assert "asks for 1.5 GPUs and this machine offers 0. Most: large 1.5 (3 × 0.5). " in gpus
    assert "ray_actor_options.num_gpus" in gpus
    assert lacking(asked, {"CPU": 3.5, "GPU": 2}) == []
