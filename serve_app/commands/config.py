"""`voicegraph config`: the configs that come with the package."""

from __future__ import annotations

import sys
from itertools import takewhile
from typing import Annotated

import typer
from rich.console import Console

from serve_app.default_configs import DEFAULT, FOLDER, NoSuchConfig, config_names, config_path

app = typer.Typer(no_args_is_help=True, help="Configs that come with the package: ls, show.")
console = Console(stderr=True, highlight=False)


@app.command("ls")
def ls() -> None:
    """List their names, which `voicegraph serve` takes, and what they are for."""
    names = config_names()
    width = max(map(len, names)) + 2
    for name in names:
        lines = (FOLDER / f"{name}.yaml").read_text("utf-8").splitlines()
        comment = " ".join(line.strip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
        typer.echo(f"{name:{width}}{comment.partition('. ')[0]}")  # its first sentence


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="see `voicegraph config ls`")] = DEFAULT) -> None:
    """Print one, to begin one's own: `voicegraph config show cpu > mine.yaml`, then `voicegraph serve mine.yaml`."""
    try:
        typer.echo(config_path(name).read_text("utf-8"), nl=False)
    except NoSuchConfig as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1)
