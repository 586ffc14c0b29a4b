"""Reading and checking a Serve config file. Serve itself accepts misspelled options in silence."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from ray.serve import Deployment
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
    gRPCOptionsSchema,
)

from deployments.core.errors import CheckpointError
from deployments.core.pipeline import parse_model
from deployments.core.ray_internals import bound_deployments, shutdown_timeout_s
from deployments.weights.registry import registry
from serve_app.app import build
from serve_app.config import Config, InPlace
from serve_app.scaling.settings import owner, scaling_of, scaling_problems

IN_PLACE = ("Router", "Ingress")  # which take InPlace as their `user_config`


class ConfigError(Exception):
    """One or more faults in a config file; each line names its place."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A checked file: Serve's own schema, our arguments of its one application, and what they build."""

    path: Path
    serve: ServeDeploySchema
    args: Config
    deployments: Mapping[str, Deployment]  # of the graph that `args` builds


def load(
    path: Path, *, models: list[str] | None = None, port: int | None = None, host: str | None = None
) -> ConfigFile:
    """Read and check `path`; `models` keeps only these, `port` and `host` override the file's. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(path, [f"cannot be read: {error}"]) from None
    applications = content.get("applications") if isinstance(content, dict) else None
    if not isinstance(applications, list) or len(applications) != 1 or not isinstance(applications[0], dict):
        raise ConfigError(path, ["must be a Serve config with exactly one application"])
    application = applications[0]
    overriding = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    if overriding:
        content["http_options"] = {**_section(content, "http_options"), **overriding}
    if models is not None:
        _keep_models(path, application, models)
    problems = unknown_keys(content)
    args, faults = _check_args(application)
    problems += faults
    schema, faults = _check_schema(content)
    problems += faults
    deployments: dict[str, Deployment] = {}
    if args is not None and schema is not None:
        deployments = bound_deployments(build(args))
        problems += _check_deployments(application, deployments)
        problems += _check_scaling(application, deployments, args, schema)
        problems += _check_in_place(application)
    if problems or args is None or schema is None:
        raise ConfigError(path, problems)
    return ConfigFile(path, schema, args, deployments)


def deployable(config: ConfigFile) -> ServeDeploySchema:
    """The file as `voicegraph serve` hands it to Serve: a change of `args` would replace every replica, so what may
    change in place goes to Router and Ingress as `user_config`."""
    schema = config.serve.model_copy(deep=True)
    application = schema.applications[0]
    application.args = {key: value for key, value in application.args.items() if key != "limits"}
    in_place = {"limits": config.args.limits.model_dump(mode="json")}
    entries = {entry.name: entry for entry in application.deployments}
    for name in IN_PLACE:
        entry = entries.setdefault(name, DeploymentSchema(name=name))
        if not isinstance(entry.user_config, dict):
            entries[name] = entry.model_copy(update={"user_config": in_place})
    application.deployments = list(entries.values())
    return schema


def check_files(config: ConfigFile) -> list[str]:
    """What is missing on this machine, per model, with the command that fixes it."""
    return [f"model {name!r}: {problem}" for name, problem in missing_files(config).items()]


def missing_files(config: ConfigFile) -> dict[str, str]:
    """By model, what is missing of its files, with the command that fixes it."""
    problems = {}
    for name, entry in config.args.models.items():
        pipeline, settings = parse_model(name, entry)
        try:
            pipeline.check_files(settings)
        except CheckpointError as error:
            problems[name] = str(error)
    return problems


def pullable(config: ConfigFile) -> dict[str, str]:
    """By model, the checkpoint that `voicegraph models pull` can fetch for it."""
    checkpoints = {
        name: getattr(parse_model(name, entry)[1], "checkpoint", None)
        for name, entry in config.args.models.items()
    }
    known = registry()
    return {name: given for name, given in checkpoints.items() if isinstance(given, str) and given in known}


# What Serve accepts below a key, where it would ignore a misspelled option.
SECTIONS: dict[Any, dict[str, Any]] = {
    ServeDeploySchema: {
        "http_options": HTTPOptionsSchema,
        "grpc_options": gRPCOptionsSchema,
        "applications": ServeApplicationSchema,
    },
    ServeApplicationSchema: {"deployments": DeploymentSchema, "autoscaling_policy": AutoscalingPolicy},
    AutoscalingConfig: {"policy": AutoscalingPolicy},
    DeploymentSchema: {
        "ray_actor_options": RayActorOptionsSchema,
        "autoscaling_config": AutoscalingConfig,
        "request_router_config": RequestRouterConfig,
    },
}


def unknown_keys(config: dict[str, Any]) -> list[str]:
    """Keys that Serve would ignore, with their place."""
    return _unknown_keys(config, ServeDeploySchema, "")


def _unknown_keys(section: Any, schema: Any, place: str) -> list[str]:
    if isinstance(section, list):
        named = [(item.get("name", "?") if isinstance(item, dict) else "?", item) for item in section]
        return [key for name, item in named for key in _unknown_keys(item, schema, f"{place}{name}.")]
    if not isinstance(section, dict):
        return []
    found = [place + _unknown(key, schema) for key in section if key not in schema.model_fields]
    for key, inner in SECTIONS.get(schema, {}).items():
        found += _unknown_keys(section.get(key), inner, f"{place}{key}.")
    return found


def _unknown(key: str, schema: Any) -> str:
    near = difflib.get_close_matches(str(key), schema.model_fields, n=1)
    return f"{key}: unknown option" + (f"; did you mean {near[0]}?" if near else "")


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping at `key`; empty if there is something else, which the schemas complain about."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def _deployments(application: dict[str, Any]) -> list[dict[str, Any]]:
    """The well-formed entries of `deployments`."""
    entries = application.get("deployments")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _keep_models(path: Path, application: dict[str, Any], wanted: list[str]) -> None:
    """Leave models out, with all that belongs to them: deployments, aliases, the default."""
    args = _section(application, "args")
    known = _section(args, "models")
    if missing := [name for name in wanted if name not in known]:
        raise ConfigError(
            path, [f"model {name!r} is not in this file; it has {', '.join(known)}" for name in missing]
        )
    args["models"] = {name: entry for name, entry in known.items() if name in wanted}
    dropped = [name for name in known if name not in wanted]
    args["optional"] = []  # what was named is wanted
    if wanted and args.get("default_model") in dropped:
        args["default_model"] = wanted[0]
    if isinstance(rules := _section(args, "routing").get("rules"), list):
        args["routing"]["rules"] = [left for rule in rules if (left := _without(rule, dropped)) is not None]
    if aliases := _section(args, "model_aliases"):
        args["model_aliases"] = {alias: target for alias, target in aliases.items() if target not in dropped}

    if cold := _section(args, "cold_start_s"):
        args["cold_start_s"] = {name: seconds for name, seconds in cold.items() if name not in dropped}
    if "deployments" in application:
        application["deployments"] = [
            entry
            for entry in _deployments(application)
            if owner(str(entry.get("name")), known) in {None, *wanted}
        ]


def _without(rule: Any, dropped: list[str]) -> Any:
    """A routing rule without models that are left out; None where nothing is left that it does."""
    preferred = rule.get("prefer") if isinstance(rule, dict) else None
    if not isinstance(preferred, list) or not set(preferred) & set(dropped):
        return rule
    left = [name for name in preferred if name not in dropped]
    return {**rule, "prefer": left} if left or rule.get("filler") else None


def _check_args(application: dict[str, Any]) -> tuple[Config | None, list[str]]:
    try:
        args = Config.model_validate(application.get("args") or {})
        for name, entry in args.models.items():
            parse_model(name, entry)
    except ValidationError as error:
        return None, [_fault("args", e) for e in error.errors()]
    except ValueError as error:
        return None, [f"args.{error}"]
    return args, []


def _faults(shape: type[BaseModel], content: object, prefix: str) -> list[str]:
    """Where `content` is not what `shape` allows."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        return [_fault(prefix, e) for e in error.errors()]
    return []


def _fault(prefix: str, error: Any) -> str:
    return ".".join(part for part in (prefix, *map(str, error["loc"])) if part) + f": {error['msg']}"


def _check_schema(content: dict[str, Any]) -> tuple[ServeDeploySchema | None, list[str]]:
    try:
        return ServeDeploySchema.model_validate(content), []
    except ValidationError as error:
        return None, [_fault("", e) for e in error.errors()]
    except (AttributeError, TypeError) as error:
        # Some of Serve's own validators expect mappings without asking.
        return None, [f"deployments: something is not of the shape Serve expects ({error})"]


def _check_deployments(application: dict[str, Any], known: Mapping[str, Deployment]) -> list[str]:
    """Names under `deployments` that the graph does not have."""
    return [
        f"deployments: {deployment.get('name')!r} is not part of the graph; it has {', '.join(sorted(known))}"
        for deployment in _deployments(application)
        if deployment.get("name") not in known
    ]


def _check_scaling(
    application: dict[str, Any], known: Mapping[str, Deployment], args: Config, schema: ServeDeploySchema
) -> list[str]:
    """What Serve would accept of autoscaling, and then cut streams or decide by what says nothing."""
    shutdown_s = {name: shutdown_timeout_s(deployment) for name, deployment in known.items()}
    longest_s = schema.http_options.request_timeout_s or 0.0
    problems = scaling_problems(application, shutdown_s, args.models, args.cold_start_s, longest_s)
    return problems + [fault for entry in _deployments(application) for fault in _bounds_problems(entry)]


def _bounds_problems(entry: dict[str, Any]) -> list[str]:
    return _faults(
        AutoscalingConfig, scaling_of(entry) or {}, f"deployments.{entry.get('name')}.autoscaling_config"
    )


def _check_in_place(application: dict[str, Any]) -> list[str]:
    """What `user_config` of Router and Ingress has wrong."""
    return [
        fault
        for entry in _deployments(application)
        if entry.get("name") in IN_PLACE and entry.get("user_config") is not None
        for fault in _faults(InPlace, entry["user_config"], f"deployments.{entry['name']}.user_config")
    ]
