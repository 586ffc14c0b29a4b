"""The command `voicegraph`."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from serve_app.bench.command import bench
from serve_app.capacity.command import capacity
from serve_app.commands import config, keys, models, voices
from serve_app.commands.check import check
from serve_app.commands.route import route
from serve_app.commands.say import say
from serve_app.commands.serve import serve
from serve_app.quality.command import app as quality

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Serve text-to-speech models, and talk to a server that runs.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"voicegraph {metadata.version('voicegraph')}")
        raise typer.Exit


@app.callback()
def voicegraph(
    version: Annotated[
        bool, typer.Option("--version", help="print the release, and end", callback=_version, is_eager=True)
    ] = False,
) -> None: ...


for command in (serve, say, route, check, bench, capacity):
    app.command()(command)
app.add_typer(config.app, name="config")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(voices.app, name="voices")
app.add_typer(quality, name="eval")


def main() -> None:
    app()
