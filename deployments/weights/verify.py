"""Is a model's directory what it should be: all files, right contents, tensors of the right shapes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from deployments.core.errors import CheckpointError
from deployments.weights.manifest import file_sha256, read_manifest
from deployments.weights.pull import problem_of
from deployments.weights.registry import model_directory, model_source, pull_command
from deployments.weights.sources import ModelSource

MAX_NAMED = 5

Shapes = dict[str, tuple[int, ...]]
"""Shapes of tensors by name."""


class Shaped(Protocol):
    """A tensor, as far as its shape goes."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def verify(
    name: str, root: Path | None = None, *, known: Mapping[str, ModelSource] | None = None
) -> list[str]:
    """Read every file of a model and name what is wrong; an empty list means that all is well.

    Contents are compared with the registry's digests and with those the manifest recorded when the files were
    pulled; then the family's own check has its turn. Raises CheckpointError only for a model the registry does not
    have.
    """
    source = model_source(name, known)
    directory = model_directory(name, root)
    try:
        recorded = read_manifest(directory)
    except CheckpointError as error:
        return [str(error)]
    problems = [f"{file} is missing. Run: {pull_command(name)}" for file in source.missing(directory)]
    present = [found for file in source.files if (found := file.found_in(directory)) is not None]
    problems += [
        f"{file.target}: {problem}"
        for file in present
        if not file.is_folder and (problem := problem_of(file, directory / file.target))
    ]
    with_digest = {file.target for file in present if file.sha256}
    for target, entry in recorded.items():
        path = directory / target
        if path.is_file() and target not in with_digest and file_sha256(path) != entry.sha256:
            problems.append(f"{target}: changed since it was pulled from {entry.source}")
    if source.check and not problems:
        problems += _family_check(source.check, directory)
    return problems


def _family_check(place: str, directory: Path) -> list[str]:
    module, _, function = place.rpartition(".")
    found: list[str] = getattr(importlib.import_module(module), function)(directory)
    return found


def shape_problems(file: str, tensors: Mapping[str, Shaped], expected: Shapes) -> list[str]:
    """What is missing, extra or of another shape, in one line per kind."""
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    shared = found.keys() & expected.keys()
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found[name]} instead of {expected[name]}"
            for name in sorted(shared)
            if found[name] != expected[name]
        ],
    }
    return [
        f"{file}: {len(names)} tensors {kind}: {', '.join(names[:MAX_NAMED])}"
        + (", …" if names[MAX_NAMED:] else "")
        for kind, names in kinds.items()
        if names
    ]
