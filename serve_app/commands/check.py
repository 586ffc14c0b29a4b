"""`voicegraph check`: every fault of a config file, before anything starts; and what a folder of weights is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serve_app.default_configs import NoSuchConfig, config_path

console = Console(stderr=True, highlight=False)


def check(
    configs: Annotated[
        list[str],
        typer.Argument(help="files, names of `voicegraph config ls`, or folders that are to be checkpoints"),
    ],
    files: Annotated[bool, typer.Option(help="also look for the models' files on this machine")] = False,
) -> None:
    """Check config files: our settings, Serve's options, names of deployments. Of a folder: which model's checkpoint it
    is, and what it lacks for that. Exit status 1 if any has a fault."""
    faults = 0
    for path in configs:
        what, problems = _folder(Path(path)) if Path(path).is_dir() else _config(path, files=files)
        faults += len(problems)
        for problem in problems:
            console.print(problem, style="red", markup=False, soft_wrap=True)
        if what:
            console.print(
                f"{path}: {what}", style=None if problems else "green", markup=False, soft_wrap=True
            )
    sys.exit(1 if faults else 0)


def _config(path: str, *, files: bool) -> tuple[str, list[str]]:
    """What to say of a config file where it is sound, and its faults."""
    from serve_app import config_file  # noqa: PLC0415  (Ray takes a second to import)

    try:
        loaded = config_file.load(config_path(path))
    except (NoSuchConfig, config_file.ConfigError) as error:
        return "", str(error).splitlines()
    missing = config_file.check_files(loaded) if files else []
    return "" if missing else "ok", [f"{path}: {problem}" for problem in missing]


def _folder(directory: Path) -> tuple[str, list[str]]:
    """What a folder of weights is, and what is wrong with it."""
    from deployments.weights.recognise import recognise  # noqa: PLC0415  (the families' checks load torch)

    found = recognise(directory)
    if found is None:
        return "", [
            f"{directory}: no model here knows it as a checkpoint; it lacks its config, or is of another model"
        ]
    return f"{found.what} (kind: {found.kind})", [f"{directory}: {problem}" for problem in found.problems]
