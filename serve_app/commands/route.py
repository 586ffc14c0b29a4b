"""`voicegraph route`: which model of a running server would speak a text, and why."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serve_app.commands.server_url import API_KEY_OPTION, DEFAULT_URL, URL_OPTION, explain, key_header

TIMEOUT_S = 10.0


def route(
    text: Annotated[str, typer.Argument(help="what would be spoken")],
    voice: Annotated[str | None, typer.Option("-v", "--voice", help="see `voicegraph voices`")] = None,
    model: Annotated[str, typer.Option("-m", "--model", help="a model, an alias or a policy")] = "auto",
    language: Annotated[str | None, typer.Option(help="a code such as en")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0.001, help="milliseconds to the first audio: latency_budget_ms")
    ] = None,
    instructions: Annotated[str | None, typer.Option(help="how to speak, in words")] = None,
    emotion: Annotated[str | None, typer.Option(help="a description of the emotion")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="a word that routing rules know; may be repeated")
    ] = None,
    fallback: Annotated[
        bool | None, typer.Option("--fallback/--no-fallback", help="may another model answer?")
    ] = None,
    explain_all: Annotated[
        bool, typer.Option("--explain", help="show every model and how it was judged")
    ] = False,
    url: URL_OPTION = DEFAULT_URL,
    api_key: API_KEY_OPTION = None,
) -> None:
    """Say which model a request would get; nothing is spoken."""
    body: dict[str, Any] = {
        "input": text,
        "model": model,
        "voice": voice,
        "language": language,
        "latency_budget_ms": budget,
        "instructions": instructions,
        "emotion": {"text": emotion} if emotion else None,
        "tags": tag or [],
        "fallback": fallback,
    }
    with explain(url):
        headers = key_header(api_key)
        answer = httpx.post(f"{url}/v1/audio/route", json=body, headers=headers, timeout=TIMEOUT_S)
        answer.raise_for_status()
    found = answer.json()
    console = Console(highlight=False)
    if explain_all:
        console.print(_table(found["candidates"]))
    if found["model"] is None:
        console.print(found["problem"], style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{found['model']} ({found['reason']})", markup=False, soft_wrap=True)


def _table(candidates: list[dict[str, Any]]) -> Table:
    table = Table("", "model", "why", "first audio", "audio/s", "state", "objections")
    place = 0
    for each in candidates:
        place += each["reason"] is not None
        expected, pace = each["first_audio_ms"], each["audio_s_per_s"]
        table.add_row(
            str(place) if each["reason"] else "",
            escape(each["model"]),
            escape(each["reason"] or "not tried"),
            "unknown" if expected is None else f"{expected:.0f} ms",
            "unknown" if pace is None else f"{pace:.1f}",
            each["state"],
            escape("; ".join((*each["objections"], *each["wishes_unmet"]))),
        )
    return table
