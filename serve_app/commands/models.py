"""`voicegraph models`: weights on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deployments.core.errors import CheckpointError
from deployments.weights.registry import model_directory, registry

app = typer.Typer(no_args_is_help=True, help="Weights on this machine: ls, pull, verify, convert.")
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
            if len(missing) == len(source.files)
            else f"lacks {len(missing)} files"
        )
        table.add_row(name, state, source.licence, str(directory))
    Console().print(table)


@app.command("pull")
def pull(name: Name) -> None:
    """Fetch a model, check its sha256 and record where it came from; resumes, and does nothing when complete."""
    from deployments.weights.pull import PullProgress  # noqa: PLC0415
    from deployments.weights.pull import pull as pull_files  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(f"{name}")

            def show(state: PullProgress) -> None:
                description = f"{name}: {state.file}" if state.file else name
                progress.update(task, description=description, completed=state.files_done, total=state.total)

            directory = pull_files(name, progress=show)
    except CheckpointError as error:
        _quit(str(error))
    console.print(f"{name}: complete in {directory}", markup=False)


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


def _quit(message: str) -> None:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(1)
