"""`voicegraph voices`: what a running server can sound like, and teaching it further voices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from serve_app.commands.server_url import API_KEY_OPTION, DEFAULT_URL, URL_OPTION, explain, key_header

LIST_TIMEOUT_S = 10.0
TIMEOUT_S = 120.0  # the first use of a voice encodes it

app = typer.Typer(help="Voices of a running server: ls, add, rm, preload; alone, it lists them.")
console = Console(stderr=True, highlight=False)

Model = Annotated[str | None, typer.Option("-m", "--model", help="only voices of this model")]
Voice = Annotated[str, typer.Argument(help="id, name or alias; see `voicegraph voices ls`")]


@app.callback(invoke_without_command=True)
def voices(
    context: typer.Context,
    model: Model = None,
    url: URL_OPTION = DEFAULT_URL,
    api_key: API_KEY_OPTION = None,
) -> None:
    if context.invoked_subcommand is None:
        ls(model, url, api_key)
        return
    for name, option in (("model", "--model"), ("url", "--url"), ("api_key", "--api-key")):
        if str(context.get_parameter_source(name)).endswith("COMMANDLINE"):
            raise typer.BadParameter(f"belongs behind {context.invoked_subcommand}", param_hint=option)


@app.command("ls")
def ls(model: Model = None, url: URL_OPTION = DEFAULT_URL, api_key: API_KEY_OPTION = None) -> None:
    """List the voices of a running server."""
    with explain(url):
        params = {"model": model} if model else None
        answer = httpx.get(
            f"{url}/v1/audio/voices", params=params, headers=key_header(api_key), timeout=LIST_TIMEOUT_S
        )
        answer.raise_for_status()
    table = Table("voice", "model", "language", "gender", "also called")
    for voice in answer.json()["voices"]:
        names = [voice["name"], *voice["aliases"]] if voice["uploaded"] else voice["aliases"]
        models = ", ".join(voice["models"]) or "none that clones"
        table.add_row(voice["id"], models, voice["language"], voice["gender"] or "", ", ".join(names))
    Console().print(table)


@app.command("add")
def add(
    file: Annotated[
        Path,
        typer.Argument(
            help="1 to 30 s of one person speaking; of more the best part is used",
            exists=True,
            dir_okay=False,
        ),
    ],
    name: Annotated[str, typer.Option("-n", "--name", help="what requests will call the voice")],
    description: Annotated[str, typer.Option()] = "",
    language: Annotated[str, typer.Option(help="ISO 639-1, such as en")] = "",
    text: Annotated[str, typer.Option(help="what is said in the recording")] = "",
    consent: Annotated[str, typer.Option(help="who agreed to the cloning")] = "",
    alias: Annotated[list[str] | None, typer.Option(help="a further name; may be repeated")] = None,
    url: URL_OPTION = DEFAULT_URL,
    api_key: API_KEY_OPTION = None,
) -> None:
    """Register a recording as a voice of every model that clones."""
    given = {"description": description, "language": language, "ref_text": text, "consent": consent}
    fields = {"name": name, **{key: value for key, value in given.items() if value}, "aliases": alias or []}
    with explain(url), file.open("rb") as recording:
        files = {"audio_sample": (file.name, recording)}
        answer = httpx.post(
            f"{url}/v1/audio/voices", data=fields, files=files, headers=key_header(api_key), timeout=TIMEOUT_S
        )
        answer.raise_for_status()
    voice: dict[str, Any] = answer.json()
    console.print(f"{voice['name']} is {voice['id']}: {voice['duration']:.1f} s", style="green", markup=False)
    for warning in voice["warnings"]:
        console.print(f"note: {warning}", style="yellow", markup=False)


@app.command("rm")
def rm(voice: Voice, url: URL_OPTION = DEFAULT_URL, api_key: API_KEY_OPTION = None) -> None:
    """Delete an uploaded voice, its recording and everything made of it."""
    with explain(url):
        answer = httpx.delete(_address(url, voice), headers=key_header(api_key), timeout=TIMEOUT_S)
        answer.raise_for_status()
    console.print(f"{answer.json()['id']} is deleted", markup=False)


@app.command("preload")
def preload(voice: Voice, url: URL_OPTION = DEFAULT_URL, api_key: API_KEY_OPTION = None) -> None:
    """Get an uploaded voice ready, so that its first request is as fast as all others."""
    with explain(url):
        answer = httpx.post(f"{_address(url, voice)}/preload", headers=key_header(api_key), timeout=TIMEOUT_S)
        answer.raise_for_status()
    for model, outcome in answer.json()["models"].items():
        state = "encoded now" if outcome == "miss" else "was ready"
        console.print(f"{voice} in {model}: {state}", markup=False)


def _address(url: str, voice: str) -> str:
    return f"{url}/v1/audio/voices/{quote(voice, safe='')}"
