"""Talking to a running server from the command line: where it is, what opens it, and what its failures mean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import typer
from rich.console import Console

from deployments.core.command_line import start

console = Console(stderr=True, highlight=False)


def _base_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(f"{url!r}: {error}") from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise typer.BadParameter(f"{url!r} is no address of a server; one looks like http://localhost:8000")
    return url.rstrip("/")


DEFAULT_URL = "http://localhost:8000"


def url_option(url: str) -> str:
    """What a command needs to find the server at `url`."""
    return "" if url == DEFAULT_URL else f" --url {url}"


URL_OPTION = Annotated[
    str, typer.Option("--url", envvar="VOICEGRAPH_URL", help="base URL of the server", callback=_base_url)
]


API_KEY_OPTION = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="VOICEGRAPH_API_KEY", help="where the server asks for one", metavar="KEY"
    ),
]


def key_header(api_key: str | None) -> dict[str, str]:
    """What shows a server the key. Quits where it cannot be one."""
    if not api_key:
        return {}
    if not (api_key.isascii() and api_key.isprintable()):
        raise typer.BadParameter("a key has printable ASCII characters alone", param_hint="--api-key")
    return {"Authorization": f"Bearer {api_key.strip()}"}


@contextmanager
def explain(url: str) -> Iterator[None]:
    """Turn connection and HTTP errors into one clear line and exit status 1."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        try:
            message = error.response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError):
            message = error.response.text[:200]
        if error.response.status_code == httpx.codes.UNAUTHORIZED:
            message += "\nSay it with --api-key or VOICEGRAPH_API_KEY; `voicegraph keys add NAME` makes one"
        _quit(f"{error.response.status_code}: {message}")
    except (httpx.ConnectError, httpx.ConnectTimeout):
        _quit(f"no server answers at {url}; start one with `{start()}`, or name it with --url")
    except httpx.RemoteProtocolError:
        _quit("the server broke off before the audio was complete; its log says why")
    except httpx.TimeoutException:
        _quit(f"{url} did not answer in time")
    except httpx.TransportError as error:
        _quit(f"the connection to {url} failed: {error or type(error).__name__}")


def _quit(message: str) -> None:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(1)
