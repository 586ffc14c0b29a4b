"""Reading and checking a Serve config file. Serve itself accepts misspelled options in silence."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from ray.serve.schema import (
    DeploymentSchema,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from deployments.errors import CheckpointError
from serve_app.app import build
from serve_app.config import Config
from serve_app.pipelines.base import parse_model


class ConfigError(Exception):
    """One or more faults in a config file; each line names its place."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join(f"{path}: {problem}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A checked file: Serve's own schema, and our arguments of its one application."""

    path: Path
    serve: ServeDeploySchema
    args: Config


def load(path: Path, *, models: list[str] | None = None, port: int | None = None) -> ConfigFile:
    """Read and check `path`; `models` keeps only these, `port` overrides the file's. Raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(path, [f"cannot be read: {error}"]) from None
    if not isinstance(content, dict) or len(content.get("applications") or []) != 1:
        raise ConfigError(path, ["must be a Serve config with exactly one application"])
    application = content["applications"][0]
    if port is not None:
        content["http_options"] = {**(content.get("http_options") or {}), "port": port}
    if models is not None:
        _keep_models(path, application, models)
    problems = unknown_keys(content)
    args, faults = _check_args(application)
    problems += faults
    schema, faults = _check_schema(content)
    problems += faults
    if args is not None:
        problems += _check_deployments(application, args)
    if problems or args is None or schema is None:
        raise ConfigError(path, problems)
    return ConfigFile(path, schema, args)


def check_files(config: ConfigFile) -> list[str]:
    """What is missing on this machine, per model, with the command that fixes it."""
    problems = []
    for name, entry in config.args.models.items():
        pipeline, settings = parse_model(name, entry)
        try:
            pipeline.check_files(settings)
        except CheckpointError as error:
            problems.append(f"model {name!r}: {error}")
    return problems


def unknown_keys(config: dict[str, Any]) -> list[str]:
    """Keys that Serve would ignore, with their place."""
    found = [_unknown(key, ServeDeploySchema) for key in config if key not in ServeDeploySchema.model_fields]
    for application in config.get("applications") or []:
        place = f"applications.{application.get('name', '?')}"
        found += [
            f"{place}.{_unknown(key, ServeApplicationSchema)}"
            for key in application
            if key not in ServeApplicationSchema.model_fields
        ]
        for deployment in application.get("deployments") or []:
            inner = f"{place}.deployments.{deployment.get('name', '?')}"
            found += [
                f"{inner}.{_unknown(key, DeploymentSchema)}"
                for key in deployment
                if key not in DeploymentSchema.model_fields
            ]
            found += [
                f"{inner}.ray_actor_options.{_unknown(key, RayActorOptionsSchema)}"
                for key in deployment.get("ray_actor_options") or {}
                if key not in RayActorOptionsSchema.model_fields
            ]
    return found


def _unknown(key: str, schema: Any) -> str:
    near = difflib.get_close_matches(str(key), schema.model_fields, n=1)
    return f"{key}: unknown option" + (f"; did you mean {near[0]}?" if near else "")


def _keep_models(path: Path, application: dict[str, Any], wanted: list[str]) -> None:
    args = application.setdefault("args", {})
    known = args.get("models") or {}
    if missing := [name for name in wanted if name not in known]:
        raise ConfigError(
            path, [f"model {name!r} is not in this file; it has {', '.join(known)}" for name in missing]
        )
    dropped = [name for name in known if name not in wanted]
    args["models"] = {name: entry for name, entry in known.items() if name in wanted}
    if args.get("default_model") in dropped:
        args["default_model"] = wanted[0]

    def belongs_to_dropped(deployment: str) -> bool:
        return any(deployment == name or deployment.startswith(f"{name}-") for name in dropped)

    application["deployments"] = [
        deployment
        for deployment in application.get("deployments") or []
        if not belongs_to_dropped(deployment["name"])
    ]


def _check_args(application: dict[str, Any]) -> tuple[Config | None, list[str]]:
    try:
        args = Config(**(application.get("args") or {}))
        for name, entry in args.models.items():
            parse_model(name, entry)
    except ValidationError as error:
        return None, [f"args.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
    except ValueError as error:
        return None, [f"args.{error}"]
    return args, []


def _check_schema(content: dict[str, Any]) -> tuple[ServeDeploySchema | None, list[str]]:
    try:
        return ServeDeploySchema.model_validate(content), []
    except ValidationError as error:
        return None, [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]


def _check_deployments(application: dict[str, Any], args: Config) -> list[str]:
    """Names under `deployments` that the graph does not have."""
    known = deployment_names(args)
    return [
        f"deployments: {deployment.get('name')!r} is not part of the graph; it has {', '.join(sorted(known))}"
        for deployment in application.get("deployments") or []
        if deployment.get("name") not in known
    ]


def deployment_names(args: Config) -> set[str]:
    """Names of all deployments of the graph that `args` builds."""
    names: set[str] = set()

    def visit(node: Any) -> None:
        if hasattr(node, "_bound_deployment"):
            bound = node._bound_deployment
            names.add(bound.name)
            for value in (*bound.init_args, *bound.init_kwargs.values()):
                visit(value)
        elif isinstance(node, dict):
            for value in node.values():
                visit(value)

    visit(build(args))
    return names
