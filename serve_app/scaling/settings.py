"""What an operator may say about autoscaling, and what of it cannot be right. Serve checks neither."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field, ValidationError

from deployments.core.settings import Settings, said

INGRESS, ROUTER = "Ingress", "Router"
# A Router relays ten pieces of audio a second and stream at most; a process relays some 3 000 (docs/capacity.md).
STREAMS_PER_ROUTER = 200
POLICY = "serve_app.scaling.policy:ByStageLoad"
POLICY_LINE = f"autoscaling_policy: {{policy_function: {POLICY!r}}}"


class PolicySettings(Settings):
    """`autoscaling_policy.policy_kwargs`."""

    target_load: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="of what a replica works on together; what is left is for the time in which another one starts",
    )


def owner(deployment: str, models: Iterable[str]) -> str | None:
    """The model of a deployment `<model>` or `<model>-<stage>`; None where it is of none of them."""
    owners = [name for name in models if deployment == name or deployment.startswith(f"{name}-")]
    return max(owners, key=len, default=None)


def scaling_problems(
    application: Mapping[str, Any],
    known: Mapping[str, float],
    models: Iterable[str],
    asleep: Iterable[str],
    longest_stream_s: float,
) -> list[str]:
    """Faults of what a config file says about autoscaling, each with its place and what to do.

    `known`: the graph's deployments, with the time that each gives its streams to end; `asleep`: the models of which
    the file says how long they take to start, so that they may have no replica.
    """
    entries = {
        entry["name"]: entry for entry in application.get("deployments") or () if entry.get("name") in known
    }
    scaled = {name: section for name, entry in entries.items() if (section := scaling_of(entry)) is not None}
    problems = []
    if scaled:
        problems += _policy_problems(application.get("autoscaling_policy"))
        if ROUTER not in scaled:
            problems.append(
                f"deployments.{ROUTER}: needs an autoscaling_config, too, as only Routers know how many streams wait; "
                "for a fixed number let min_replicas and max_replicas be the same"
            )
    elif application.get("autoscaling_policy"):
        problems.append("autoscaling_policy: no deployment has an autoscaling_config, so it decides nothing")
    for name, section in scaled.items():
        entry = entries[name]
        given_s = entry.get("graceful_shutdown_timeout_s", known[name])
        if given_s < longest_stream_s:
            problems.append(
                f"deployments.{name}.graceful_shutdown_timeout_s: {given_s:g} is less than "
                f"http_options.request_timeout_s, {longest_stream_s:g}: streams would be cut when a replica goes"
            )
        if section.get("min_replicas") == 0 and name in (INGRESS, ROUTER):
            problems.append(
                f"deployments.{name}.autoscaling_config.min_replicas: 0 is for stages; it takes requests"
            )
    return problems + _sleep_problems(scaled, known, [*models], [*asleep])


def _policy_problems(policy: Any) -> list[str]:
    if policy is None:
        return [
            "deployments scale by open requests, which say little: an engine with 48 slots is not full with 3. "
            f"Add to the application: {POLICY_LINE}"
        ]
    function = policy.get("policy_function") if isinstance(policy, dict) else None
    if not isinstance(function, str):
        return [f"autoscaling_policy.policy_function: is missing; the graph's own is {POLICY!r}"]
    if function != POLICY:
        return []
    try:
        PolicySettings.model_validate(policy.get("policy_kwargs") or {})
    except ValidationError as error:
        return [
            f"autoscaling_policy.policy_kwargs.{'.'.join(map(str, fault['loc']))}: {said(fault)}"
            for fault in error.errors()
        ]
    return []


def _sleep_problems(
    scaled: Mapping[str, Mapping[str, Any]], known: Mapping[str, Any], models: list[str], asleep: list[str]
) -> list[str]:
    """A model sleeps as a whole or not at all, and the Router must know how long it takes to wake."""
    problems = []
    for model in models:
        stages = [name for name in known if owner(name, models) == model]
        least = {name: scaled.get(name, {}).get("min_replicas", 1) for name in stages}
        may_sleep = [name for name in stages if least[name] == 0]
        if may_sleep and len(may_sleep) < len(stages):
            kept = next(name for name in stages if name not in may_sleep)
            problems.append(
                f"deployments.{may_sleep[0]}.autoscaling_config.min_replicas: 0, but {kept} of the same model keeps "
                "replicas, which are of no use alone; give all its stages 0, or none"
            )
        elif may_sleep and model not in asleep:
            problems.append(
                f"args.cold_start_s: {model!r} may have no replica (min_replicas: 0); say how many seconds it takes to "
                f"start, for instance {{{model}: 60}}"
            )
        elif not may_sleep and model in asleep:
            problems.append(
                f"args.cold_start_s: {model!r} always has replicas; give its stages min_replicas: 0"
            )
    return problems


def scaling_of(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The `autoscaling_config` of an entry of `deployments`; None where the number of its replicas is fixed."""
    section = entry.get("autoscaling_config")
    if isinstance(section, Mapping):
        return section
    return {} if entry.get("num_replicas") == "auto" else None
