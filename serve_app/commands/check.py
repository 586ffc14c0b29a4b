"""`voicegraph check`: every fault of a config file, before anything starts."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from serve_app.default_configs import NoSuchConfig, config_path

console = Console(stderr=True, highlight=False)


def check(
    configs: Annotated[list[str], typer.Argument(help="files, or names of `voicegraph config ls`")],
    files: Annotated[bool, typer.Option(help="also look for the models' files on this machine")] = False,
) -> None:
    """Check config files: our settings, Serve's options, names of deployments. Exit status 1 if any has a fault."""
    from serve_app import config_file  # noqa: PLC0415  (Ray takes a second to import)

    faults = 0
    for path in configs:
        try:
            loaded = config_file.load(config_path(path))
        except (NoSuchConfig, config_file.ConfigError) as error:
            problems = str(error).splitlines()
        else:
            missing = config_file.check_files(loaded) if files else []
            problems = [f"{path}: {problem}" for problem in missing]
        faults += len(problems)
        for problem in problems:
            console.print(problem, style="red", markup=False, soft_wrap=True)
        if not problems:
            console.print(f"{path}: ok", style="green", markup=False)
    sys.exit(1 if faults else 0)
