"""What Serve's controller hands to the policy, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import pytest
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from serve_app.scaling.crowd import STREAMS_PER_ROUTER, crowd_stats, crowds
from serve_app.scaling.policy import ByStageLoad
from serve_app.scaling.settings import POLICY, owner


@dataclass
class Context:
    """The fields of Serve's AutoscalingContext that count. `told`: replica -> what it reports."""

    deployment_name: str
    current_num_replicas: int = 1
    told: dict[str, dict[str, float]] = field(default_factory=dict)
    total_num_requests: float = 0.0
    config: AutoscalingConfig = field(
        default_factory=lambda: AutoscalingConfig(max_replicas=10, target_ongoing_requests=20)
    )

    @property
    def target_num_replicas(self) -> int:
        return self.current_num_replicas

    @property
    def aggregated_metrics(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for replica, metrics in self.told.items():
            for name, value in metrics.items():
                found.setdefault(name, {})[replica] = value
        return found


def decide(*contexts: Context, **settings: Any) -> dict[str, float]:
    wanted, state = ByStageLoad(**settings)({each.deployment_name: each for each in contexts})  # type: ignore[arg-type]
    assert state == {}
    return wanted  # type: ignore[return-value]


def router(**models: tuple[int, int]) -> Context:
    """Two Routers, each with half of (speaking, waiting) of every model."""
    half = crowd_stats(
        {name: (speaking + waiting) // 2 for name, (speaking, waiting) in models.items()},
        {name: speaking // 2 for name, (speaking, _) in models.items()},
    )
    return Context("Router", 2, {"r1": half, "r2": half})


def test_loads_of_all_replicas_are_added_up_and_routers_are_asked_who_waits() -> None:
    gpt = Context(
        "index-gpt",
        2,
        {"a": {"work": 48.0, "capacity": 48.0}, "b": {"work": 19.2, "capacity": 48.0}},
    )
    s2mel = Context("index-s2mel", 2, {"c": {"work": 1000.0, "capacity": 16384.0}})
    found = decide(router(index=(20, 0)), gpt, s2mel)
    assert found["index-gpt"] == pytest.approx(1.4 / 0.7)
    assert found["index-s2mel"] == 1.0
    waiting = decide(router(index=(20, 10)), gpt, s2mel)
    assert waiting["index-gpt"] == pytest.approx(3.0)


def test_models_do_not_concern_each_other() -> None:
    full = Context("big-gpt", 1, {"a": {"work": 10.0, "capacity": 5.0}})
    idle = Context("small", 3, {"b": {"work": 0.0, "capacity": 1.0}})
    found = decide(router(big=(4, 4), small=(0, 0)), full, idle)
    assert found["big-gpt"] > 2
    assert found["small"] == 0.0


def test_a_stage_keeps_its_number_until_it_and_a_router_have_reported() -> None:
    unheard = Context("index-gpt", 4)
    assert decide(Context("Router", 1), unheard) == {"Router": 1.0}
    assert decide(router(index=(2, 0)), unheard)["index-gpt"] == 4.0


def test_routers_follow_their_streams_and_the_ingress_its_requests() -> None:
    streams = round(1.5 * STREAMS_PER_ROUTER)
    found = decide(router(index=(streams, 0)), Context("Ingress", 1, total_num_requests=70.0))
    assert found["Router"] == pytest.approx(1.5 / 0.7, rel=0.01)
    assert found["Ingress"] == pytest.approx(70 / 20 / 0.7)
    assert decide(router(index=(0, 0)))["Router"] == 1.0


def test_what_a_router_reports_is_read_back() -> None:
    stats = crowd_stats({"a": 5, "b": 0}, {"a": 3, "b": 1})
    found = crowds({name: {"r": value} for name, value in stats.items()})
    assert (found["a"].speaking, found["a"].waiting) == (3.0, 2.0)
    assert found["b"].held == 0.0


def test_a_deployment_belongs_to_the_model_with_the_longest_name() -> None:
    models = ["index", "index-nano"]
    assert [owner(name, models) for name in ("index-gpt", "index-nano-gpt", "index-nano", "other")] == [
        "index",
        "index-nano",
        "index-nano",
        None,
    ]


def test_serve_takes_the_policy_by_its_path_and_sends_it_to_its_controller() -> None:
    policy = AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"target_load": 0.5})
    found = cloudpickle.loads(policy.get_serialized_policy_def())
    assert found(**policy.policy_kwargs)._settings.target_load == 0.5


def test_what_the_policy_does_not_know_is_an_error() -> None:
    with pytest.raises(ValidationError, match="target"):
        ByStageLoad(target=0.5)
