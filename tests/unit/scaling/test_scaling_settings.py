"""What `voicegraph check` says of autoscaling, which Serve would accept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.config_file import ConfigError, load
from serve_app.scaling.settings import POLICY

CPU = Path(__file__).parents[3] / "configs" / "cpu.yaml"
STAGES = ("kokoro", "indextts2-speaker", "indextts2-gpt", "indextts2-s2mel", "indextts2-vocoder")


def config(**changes: Any) -> dict[str, Any]:
    """The default config with autoscaling of the Router and, by `changes`, of others and of the application."""
    content: dict[str, Any] = yaml.safe_load(CPU.read_text(encoding="utf-8"))
    (application,) = content["applications"]
    application["autoscaling_policy"] = {"policy_function": POLICY}
    changes = {"Router": {"autoscaling_config": {"min_replicas": 1, "max_replicas": 2}}, **changes}
    for entry in application["deployments"]:
        if entry["name"] in changes:
            del entry["num_replicas"]
            entry.update(changes.pop(entry["name"]))
    for key, value in changes.items():
        if value is None:
            del application[key]
        elif key == "args":
            application["args"] |= value
        else:
            application[key] = value
    return content


def scaled(**bounds: Any) -> dict[str, Any]:
    return {"autoscaling_config": {"max_replicas": 4, **bounds}}


def problems(tmp_path: Path, content: dict[str, Any]) -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        load(path)
    except ConfigError as error:
        return error.problems
    return []


def test_a_config_that_scales_is_right(tmp_path: Path) -> None:
    assert problems(tmp_path, config(**{"indextts2-gpt": scaled()})) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"autoscaling_policy": None},
            f"Add to the application: autoscaling_policy: {{policy_function: '{POLICY}'}}",
        ),
        ({"autoscaling_policy": {}}, "autoscaling_policy.policy_function: is missing"),
        (
            {"autoscaling_policy": {"policy_function": POLICY, "policy_kwargs": {"target_load": 2}}},
            "autoscaling_policy.policy_kwargs.target_load: Input should be less than or equal to 1",
        ),
        (
            {"autoscaling_policy": {"policy_function": POLICY, "policy_kwarg": {}}},
            "autoscaling_policy.policy_kwarg: unknown option; did you mean policy_kwargs?",
        ),
        ({"kokoro": scaled(num_replicas=2)}, "num_replicas: unknown option"),
        ({"kokoro": {**scaled(), "num_replicas": 2}}, "Manually setting num_replicas is not allowed"),
        (
            {"kokoro": scaled(upscale_delay_s=-1)},
            "deployments.kokoro.autoscaling_config.upscale_delay_s: Input",
        ),
        (
            {"kokoro": scaled(min_replicas=5)},
            "deployments.kokoro.autoscaling_config: Value error, max_replicas (4) must",
        ),
        (
            {"kokoro": {**scaled(), "graceful_shutdown_timeout_s": 20}},
            "deployments.kokoro.graceful_shutdown_timeout_s: 20 is less than http_options.request_timeout_s, 300",
        ),
        (
            {"Ingress": scaled(min_replicas=0)},
            "deployments.Ingress.autoscaling_config.min_replicas: 0 is for stages",
        ),
        ({"kokoro": scaled(min_replicas=0)}, "args.cold_start_s: 'kokoro' may have no replica"),
        ({"args": {"cold_start_s": {"kokoro": 9}}}, "args.cold_start_s: 'kokoro' always has replicas"),
        ({"args": {"cold_start_s": {"kokor": 9}}}, "cold_start_s: 'kokor' is not one of"),
        ({"args": {"cold_start_s": {"kokoro": 0}}}, "cold_start_s: 0.0 is no time in seconds"),
        (
            {"indextts2-gpt": scaled(min_replicas=0), "args": {"cold_start_s": {"indextts2": 60}}},
            "0, but indextts2-speaker of the same model keeps replicas",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_right_is_said(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    found = problems(tmp_path, config(**changes))
    assert any(told in problem for problem in found), found


def test_a_router_that_does_not_report_leaves_the_stages_alone(tmp_path: Path) -> None:
    content = config(kokoro=scaled(), Router={"num_replicas": 1})
    (found,) = problems(tmp_path, content)
    assert found.startswith("deployments.Router: needs an autoscaling_config")


def test_a_policy_without_anything_to_scale_is_said(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, config(Router={"num_replicas": 1}))
    assert found.startswith("autoscaling_policy: no deployment has an autoscaling_config")


def test_a_model_may_sleep_as_a_whole(tmp_path: Path) -> None:
    asleep = {name: scaled(min_replicas=0) for name in STAGES[1:]}
    content = config(**asleep, args={"cold_start_s": {"indextts2": 60}})
    assert problems(tmp_path, content) == []
    path = tmp_path / "config.yaml"
    assert load(path, models=["indextts2"]).args.cold_start_s == {"indextts2": 60.0}
    assert load(path, models=["kokoro"]).args.cold_start_s == {}


@pytest.mark.parametrize("name", ["cpu", "gpu-24g", "gpu-80g"])
def test_what_the_configs_show_in_comments_works(tmp_path: Path, name: str) -> None:
    text = (CPU.parent / f"{name}.yaml").read_text(encoding="utf-8")
    text = re.sub(r" +num_replicas: 1\n( +)# (autoscaling_config:)", r"\1\2", text)
    text, count = re.subn(r"^( +)# (autoscaling_(?:config|policy):)", r"\1\2", text, flags=re.MULTILINE)
    assert count >= 1
    content = yaml.safe_load(text)
    (application,) = content["applications"]
    scaled = [each["name"] for each in application["deployments"] if "autoscaling_config" in each]
    assert {"Router", "kokoro"} < set(scaled)
    assert application["autoscaling_policy"]["policy_function"] == POLICY
    assert problems(tmp_path, content) == []
