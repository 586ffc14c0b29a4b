"""`voicegraph say`: text to an audio file through a running server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import unquote

import httpx
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from serve_app.commands.server_url import API_KEY_OPTION, DEFAULT_URL, URL_OPTION, explain, key_header

FORMATS = ("mp3", "wav", "opus", "aac", "flac", "pcm")
READ_TIMEOUT_S = 120.0

console = Console(stderr=True, highlight=False)


def say(
    text: Annotated[str, typer.Argument(help="what to say; - reads standard input")],
    voice: Annotated[str | None, typer.Option("-v", "--voice", help="see `voicegraph voices`")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="the ending names the format")] = Path(
        "speech.mp3"
    ),
    model: Annotated[str, typer.Option("-m", "--model")] = "auto",
    speed: Annotated[float, typer.Option(min=0.25, max=4.0)] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    url: URL_OPTION = DEFAULT_URL,
    api_key: API_KEY_OPTION = None,
) -> None:
    """Speak a text into a file; shows first-audio time and real-time factor."""
    response_format = output.suffix.lstrip(".").lower()
    if response_format not in FORMATS:
        _quit(f"{output}: the ending must be one of {', '.join(FORMATS)}")
    if not output.parent.is_dir():
        _quit(f"there is no folder {output.parent}")
    body: dict[str, Any] = {
        "model": model,
        "input": _checked(sys.stdin.read() if text == "-" else text),
        "response_format": response_format,
        "speed": speed,
        # A file whose header states sizes is only complete when it is buffered.
        "stream": response_format != "wav",
    }
    if voice is not None:
        body["voice"] = voice
    if seed is not None:
        body["seed"] = seed
    with explain(url):
        _fetch(url, body, key_header(api_key), output)


def _checked(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        _quit("the text is not valid UTF-8")
    return text


def _quit(message: str, status: int = 2) -> NoReturn:
    console.print(message, style="red", markup=False, soft_wrap=True)
    sys.exit(status)


def _fetch(url: str, body: dict[str, Any], headers: dict[str, str], output: Path) -> None:
    part = output.with_name(f".{output.name}.part")
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("waiting for the first audio")

            def show(size: int) -> None:
                progress.update(task, description=f"{output}: {size / 1000:.0f} kB")

            received = _receive(url, body, headers, part, show)
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    told = received.headers
    if warnings := told.get("x-warnings"):
        console.print(f"warning: {unquote(warnings)}", style="yellow", markup=False, soft_wrap=True)
    duration_s = _duration_s(output, int(told.get("x-sample-rate", "24000")))
    console.print(
        f"{output}: {duration_s:.2f} s by {told.get('x-model', '?')} / {told.get('x-voice', '?')}; "
        f"first audio {received.first_s:.3f} s, total {received.total_s:.2f} s, "
        f"RTF {received.total_s / max(duration_s, 1e-9):.2f}",
        markup=False,
        soft_wrap=True,
    )


@dataclass(frozen=True, slots=True)
class _Received:
    headers: httpx.Headers
    first_s: float
    total_s: float


def _receive(
    url: str, body: dict[str, Any], headers: dict[str, str], path: Path, show: Callable[[int], None]
) -> _Received:
    started = time.monotonic()
    first_s: float | None = None
    timeout = httpx.Timeout(READ_TIMEOUT_S, connect=5)
    address = f"{url}/v1/audio/speech"
    with httpx.stream("POST", address, json=body, headers=headers, timeout=timeout) as response:
        if response.status_code != httpx.codes.OK:
            response.read()
        response.raise_for_status()
        with path.open("wb") as file:
            for data in response.iter_bytes():
                first_s = first_s if first_s is not None else time.monotonic() - started
                file.write(data)
                show(file.tell())
    if first_s is None:
        _quit("the server sent no audio", status=1)
    return _Received(response.headers, first_s, time.monotonic() - started)


def _duration_s(path: Path, sample_rate_hz: int) -> float:
    if path.suffix.lower() == ".pcm":
        return path.stat().st_size / 2 / sample_rate_hz
    import av  # noqa: PLC0415

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return sum(frame.samples for frame in container.decode(stream)) / stream.rate
