"""`voicegraph models`: weights on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from deployments.core.errors import CheckpointError
from deployments.weights.registry import model_directory, pull_command, registry

app = typer.Typer(no_args_is_help=True, help="Weights on this machine: ls, pull, link, verify, convert.")
console = Console(stderr=True, highlight=False)

Name = Annotated[str, typer.Argument(help="see `voicegraph models ls`")]


@app.command("ls")
def ls() -> None:
    """List the models that can be pulled, and which are here."""
    table = Table("model", "here", "licence", "directory")
    for name, source in sorted(registry().items()):
        directory = model_directory(name)
        missing = source.missing(directory)
        state = (
            "yes"
            if not missing
            else "no"
            if not any(file.exists_in(directory) for file in source.files)
            else f"lacks {len(missing)} files"
        )
        table.add_row(name, state, source.licence, str(directory))
    Console().print(table)


@app.command("pull")
def pull(name: Name) -> None:
    """Fetch a model, check its sha256 and record where it came from; resumes, and does nothing when complete."""
    from serve_app.commands.pulling import pull_with_bar  # noqa: PLC0415  (its imports are slow)

    try:
        pull_with_bar(name)
    except CheckpointError as error:
        _quit(str(error))


@app.command("link")
def link(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="with the model's files", exists=True, file_okay=False)],
) -> None:
    """Use files that are on this machine already, such as the `checkpoints` of the model's own repository."""
    from deployments.weights.link import link as link_files  # noqa: PLC0415

    try:
        linked = link_files(name, folder)
    except CheckpointError as error:
        _quit(str(error))
    told = f"{name}: {len(linked.files)} files of {folder} are linked in {linked.directory}"
    console.print(told, markup=False, soft_wrap=True)
    if linked.missing:
        _quit(f"still missing: {', '.join(linked.missing)}. Run: {pull_command(name)}")


@app.command("verify")
def verify(name: Name) -> None:
    """Read every file of a model and compare it with what was recorded; exit status 1 names what is wrong."""
    from deployments.weights.verify import verify as verify_files  # noqa: PLC0415

    try:
        problems = verify_files(name)
    except CheckpointError as error:
        _quit(str(error))
    if problems:
        _quit("\n".join(problems))
    console.print(f"{name}: all files are as recorded", style="green", markup=False)


@app.command("convert")
def convert(directory: Annotated[Path, typer.Argument(help="a folder with weights")]) -> None:
    """Write safetensors beside the pickles in a folder, for a faster start; they are then preferred."""
    from deployments.weights.convert import convert as convert_files  # noqa: PLC0415  (loads torch)

    try:
        written = convert_files(directory)
    except CheckpointError as error:
        _quit(str(error))
    for path in written:
        console.print(f"{path}: written and compared", markup=False)


def _quit(message: str) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(1)
