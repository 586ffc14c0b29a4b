"""`voicegraph bench`: the options of a run, and where its report goes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from serve_app.bench.arrivals import ClosedLoop, Load, OpenLoop
from serve_app.bench.client import Target
from serve_app.bench.errors import BenchError
from serve_app.bench.metrics import Summary, summarise
from serve_app.bench.report import report, table, write_traces
from serve_app.bench.run import run
from serve_app.bench.texts import LISTS, read_texts
from serve_app.bench.timeline import RESPONSE_FORMATS
from serve_app.capacity.costs import write_costs

DEFAULT_URL = "http://127.0.0.1:8000"
STANDARD_OUTPUT = Path("-")


def bench(
    url: Annotated[str, typer.Argument(help="Base URL of the server, with or without /v1.")] = DEFAULT_URL,
    *,
    model: Annotated[str, typer.Option(help="Model to ask for.")] = "tts-1",
    voice: Annotated[str, typer.Option(help="Voice to ask for.")] = "alloy",
    response_format: Annotated[
        str, typer.Option("--format", help=f"Format of the audio: {', '.join(RESPONSE_FORMATS)}.")
    ] = "pcm",
    sample_rate: Annotated[
        int | None,
        typer.Option(
            min=1, help="Hz of raw audio if the answer has no X-Sample-Rate (pcm 24000, ulaw 8000)."
        ),
    ] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Requests in flight at a time (4).")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests in all (40).")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Instead of --concurrency: Poisson arrivals, so many per second.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds of arrivals, with --rate (60).")] = None,
    seed: Annotated[int, typer.Option(help="Of the arrival times and of the order of the texts.")] = 0,
    warmup: Annotated[int, typer.Option(min=0, help="Requests before the run that do not count.")] = 2,
    texts: Annotated[Path | None, typer.Option(help="UTF-8 file, one text per line.")] = None,
    language: Annotated[str, typer.Option(help=f"Built-in texts: {' or '.join(LISTS)}.")] = "en",
    extra: Annotated[str, typer.Option(help='More fields of the request, as JSON: {"speed": 1.1}.')] = "{}",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="VOICEGRAPH_API_KEY", help="Sent as bearer token; not in the report."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, help="Seconds without a byte before giving up.")
    ] = 60.0,
    output: Annotated[
        Path | None, typer.Option(help="Write the report as JSON; - for standard output.")
    ] = None,
    traces: Annotated[Path | None, typer.Option(help="Write every request as observed, JSON Lines.")] = None,
    costs: Annotated[
        Path | None,
        typer.Option(
            help="Instead of one load: 1, 2, 4 … users up to --concurrency, and what the stages of --model cost as "
            "JSON, for `voicegraph capacity`. For a server on this machine."
        ),
    ] = None,
) -> None:
    """Put load on an OpenAI-compatible speech server and report what listeners would have heard."""
    load = _load(concurrency, requests, rate, duration, seed)
    target = _target(
        base_url=url,
        model=model,
        voice=voice,
        response_format=response_format,
        sample_rate_hz=sample_rate,
        extra=_fields(extra),
        api_key=api_key,
        timeout_s=timeout,
    )
    # On standard error, because standard output may be the JSON of `--output -`.
    people = Console(stderr=True, highlight=False)
    if costs:
        _measure_costs(costs, target, texts, language, most_users=concurrency or 8, seed=seed, warmup=warmup)
        return
    people.print(f"{target.url}: {_described(load)}, {warmup} to warm up", markup=False)
    try:
        spoken = read_texts(texts) if texts else _built_in(language)
        observed = asyncio.run(run(target, load, spoken, seed=seed, warmup=warmup))
    except BenchError as error:
        people.print(f"error: {error}", markup=False, style="red")
        raise typer.Exit(1) from error
    if traces:
        write_traces(traces, observed)
    summary = summarise(observed)
    asked = {
        **target.settings(),
        "load": asdict(load),
        "seed": seed,
        "warmup": warmup,
        "texts": str(texts) if texts else f"built-in {language}",
    }
    _publish(summary, asked, output)
    for kind, detail in summary.error_details.items():
        people.print(f"{kind}: {detail}", markup=False)
    if not summary.ok:
        raise typer.Exit(1)


def _measure_costs(
    path: Path,
    target: Target,
    texts: Path | None,
    language: str,
    *,
    most_users: int,
    seed: int,
    warmup: int,
) -> None:
    from serve_app.bench.costs import measure  # noqa: PLC0415  (Ray takes a second to import)

    people = Console(stderr=True, highlight=False)
    try:
        spoken = read_texts(texts) if texts else _built_in(language)
        found = asyncio.run(measure(target, spoken, most_users=most_users, seed=seed, warmup=warmup))
    except BenchError as error:
        people.print(f"error: {error}", markup=False, style="red")
        raise typer.Exit(1) from error
    write_costs(path, found)
    people.print(f"{path}: {', '.join(found.models[target.model].stages)}", markup=False)


def _publish(summary: Summary, asked: dict[str, Any], output: Path | None) -> None:
    as_json = json.dumps(report(summary, asked), indent=2, ensure_ascii=False)
    if output == STANDARD_OUTPUT:
        typer.echo(as_json)
        return
    Console(highlight=False).print(
        table(summary, f"{asked['url']}  {asked['model']}, {asked['response_format']}")
    )
    if output:
        output.write_text(as_json + "\n", encoding="utf-8")


def _load(
    concurrency: int | None, requests: int | None, rate: float | None, duration: float | None, seed: int
) -> Load:
    """Either kind of load; options of the other kind are an error, not ignored."""
    if rate is None:
        if duration is not None:
            raise typer.BadParameter("needs --rate; else give --requests", param_hint="--duration")
        return ClosedLoop(concurrency or 4, requests or 40)
    if concurrency is not None or requests is not None:
        raise typer.BadParameter(
            "goes with --duration; leave out --concurrency and --requests", param_hint="--rate"
        )
    try:
        return OpenLoop(rate, 60.0 if duration is None else duration, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--rate / --duration") from error


def _described(load: Load) -> str:
    if isinstance(load, ClosedLoop):
        return f"{load.requests} requests, {load.concurrency} at a time"
    return f"Poisson arrivals, {load.rate_per_s:g} per second for {load.duration_s:g} s"


def _target(**settings: Any) -> Target:
    try:
        return Target(**settings)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _fields(extra: str) -> dict[str, Any]:
    try:
        fields = json.loads(extra)
    except ValueError as error:
        raise typer.BadParameter(f"{extra!r} is not JSON: {error}", param_hint="--extra") from error
    if not isinstance(fields, dict):
        raise typer.BadParameter(f'{extra!r} is no JSON object like {{"speed": 1.1}}', param_hint="--extra")
    return fields


def _built_in(language: str) -> tuple[str, ...]:
    if language not in LISTS:
        raise typer.BadParameter(
            f"no texts for {language!r}, only {', '.join(LISTS)}; or give --texts",
            param_hint="--language",
        )
    return LISTS[language]
