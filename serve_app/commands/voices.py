"""`voicegraph voices`: what a running server can sound like."""

from __future__ import annotations

from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.server_url import URL_OPTION, explain


def voices(
    model: Annotated[str | None, typer.Option("-m", "--model", help="only voices of this model")] = None,
    url: URL_OPTION = "http://localhost:8000",
) -> None:
    """List the voices of a running server."""
    with explain(url):
        answer = httpx.get(f"{url}/v1/audio/voices", params={"model": model} if model else None, timeout=10)
        answer.raise_for_status()
    table = Table("voice", "model", "language", "gender", "also called")
    for voice in answer.json()["voices"]:
        aliases = ", ".join(voice["aliases"])
        table.add_row(voice["id"], voice["model"], voice["language"], voice["gender"] or "", aliases)
    Console().print(table)
