"""`voicegraph keys`: who may use a server. Works on the file that the server reads, not on the server."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serve_app.keys.api_key import ApiKey, new_key
from serve_app.keys.key_file import DEFAULT_PATH, KeyFile, KeysError

app = typer.Typer(
    no_args_is_help=True,
    help="API keys of a server: add, ls, revoke. A server whose `auth.keys_file` is the file heeds a change at once.",
)
console = Console(stderr=True, highlight=False)

File = Annotated[
    Path,
    typer.Option("--file", envvar="VOICEGRAPH_KEYS_FILE", help="what `auth.keys_file` of the server names"),
]
Most = typer.Option(min=1, show_default="no limit")


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="whose key it is, for you")],
    requests_per_minute: Annotated[int | None, Most] = None,
    streams: Annotated[int | None, Most] = None,
    characters_per_day: Annotated[int | None, Most] = None,
    speech_only: Annotated[bool, typer.Option(help="may not add, change or delete voices")] = False,
    file: File = DEFAULT_PATH,
) -> None:
    """Make a key and print it, once: only its hash is kept."""
    name = name.strip()
    if not name.isprintable() or not 1 <= len(name) <= 100:
        _quit("the name must have 1 to 100 printable characters")
    text, key = new_key(
        name,
        requests_per_minute=requests_per_minute,
        streams=streams,
        characters_per_day=characters_per_day,
        speech_only=speech_only,
    )
    keys = KeyFile(file)
    try:
        keys.add(key)
    except KeysError as error:
        _quit(str(error))
    console.print(
        f"key {key.id} of {name} is in {keys.path}. This is shown once; whoever has it may use the server:",
        markup=False,
        soft_wrap=True,
    )
    typer.echo(text)


@app.command("ls")
def ls(file: File = DEFAULT_PATH) -> None:
    """List the keys by id, never the keys themselves."""
    try:
        keys = KeyFile(file).read()
    except KeysError as error:
        _quit(str(error))
    table = Table("key", "name", "since", "requests a minute", "streams", "characters a day", "may")
    for key in keys:
        table.add_row(*_row(key))
    Console().print(table)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(help="as `voicegraph keys ls` shows it")], file: File = DEFAULT_PATH
) -> None:
    """Take a key away. What it has begun to hear ends; nothing new begins."""
    try:
        key = KeyFile(file).revoke(key_id)
    except KeysError as error:
        _quit(str(error))
    console.print(f"key {key.id} of {key.name} opens nothing any more", markup=False)


def _row(key: ApiKey) -> tuple[str, ...]:
    most = (key.requests_per_minute, key.streams, key.characters_per_day)
    since = time.strftime("%Y-%m-%d", time.localtime(key.created_at))
    may = "speak" if key.speech_only else "everything"
    return (key.id, escape(key.name), since, *("–" if each is None else str(each) for each in most), may)


def _quit(message: str) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(1)
