"""`voicegraph eval`: one setting, two results compared, a suite of settings, a report."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from typer.core import TyperGroup

from serve_app.bench.client import Target
from serve_app.quality import EvalError
from serve_app.quality.compare import compare as compare_results
from serve_app.quality.compare import comparison
from serve_app.quality.evaluation import Evaluation, Progress
from serve_app.quality.figures import figures
from serve_app.quality.lines import LineSet, built_in, cast, read_set, recordings
from serve_app.quality.listener import Listener
from serve_app.quality.packages import ALL_MEASURES, check_measures
from serve_app.quality.report import report as render
from serve_app.quality.result import Result, read_result, write_result
from serve_app.quality.server import FORMATS
from serve_app.quality.spool import Spool
from serve_app.quality.suite import find_results, read_suite, write_results
from serve_app.quality.tables import change_table, misheard, result_table

DEFAULT_URL = "http://127.0.0.1:8000"
UNFINISHED = ".answers"

people = Console(stderr=True, highlight=False)
tables = Console(highlight=False)


class _SpeakByDefault(TyperGroup):
    """`voicegraph eval URL` means `voicegraph eval run URL`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named or not args else ["run", *args])


app = typer.Typer(
    cls=_SpeakByDefault,
    no_args_is_help=True,
    help="How a server's answers sound and how fast they come: `eval URL` measures, `eval compare` compares.",
)

Url = Annotated[str, typer.Argument(help="Base URL of the server, with or without /v1.")]
Measures = Annotated[str, typer.Option(help="What to measure besides times, separated by commas.")]
Concurrency = Annotated[int, typer.Option(min=1, help="Requests at a time; times mean something at 1 only.")]
ApiKey = Annotated[str | None, typer.Option(envvar="VOICEGRAPH_API_KEY", help="Sent as bearer token.")]
Timeout = Annotated[float, typer.Option(min=0.001, help="Seconds without a byte before giving up.")]
Audio = Annotated[Path | None, typer.Option(help="Folder to keep what was measured in, as WAV.")]


@app.command("run")
def run(
    url: Url = DEFAULT_URL,
    *,
    model: Annotated[str, typer.Option("-m", "--model", help="Model to ask for.")] = "tts-1",
    voice: Annotated[
        list[str] | None, typer.Option("-v", "--voice", help="Give several: the lines take them in turn.")
    ] = None,
    voices: Annotated[
        Path | None, typer.Option(help="Folder of recordings named like the voices, for the similarity.")
    ] = None,
    clone: Annotated[
        bool, typer.Option("--clone", help="Send the recordings of --voices along; they are the voices.")
    ] = False,
    lines: Annotated[
        Path | None, typer.Option("--set", help='JSON Lines: {"text": …, "voice": …, "reference": …}.')
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Only the first so many lines.")] = None,
    extra: Annotated[str, typer.Option(help='More fields of the request: {"diffusion_steps": 10}.')] = "{}",
    response_format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "pcm",
    stream: Annotated[bool, typer.Option(help="Answers as they are made, or whole.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of every request.")] = 0,
    measures: Measures = ALL_MEASURES,
    concurrency: Concurrency = 1,
    api_key: ApiKey = None,
    timeout: Timeout = 120.0,
    name: Annotated[str, typer.Option(help="Of this setting, in comparisons.")] = "",
    audio: Audio = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write all items as JSON.")] = None,
) -> None:
    """Speak a fixed set of sentences on a server and measure words, voice, quality and times."""
    with _errors():
        _check_folder(output)
        fields = {"response_format": response_format, "stream": stream, "seed": seed, **_fields(extra)}
        chosen = _lines(lines, count, voice or [], voices, clone)
        evaluation = Evaluation(
            target=_target(url, model, api_key, timeout),
            settings={name or (output.stem if output else model): fields},
            chosen=chosen,
            measures=_measures(measures, chosen),
            concurrency=concurrency,
        )
        with tempfile.TemporaryDirectory() as folder:
            (result,) = _evaluate(evaluation, Path(folder) / UNFINISHED, audio).values()
        found = figures(result.items)
        if output is not None:
            write_result(output, result, found)
    tables.print(result_table(result, found))
    for line in misheard(result):
        people.print(line, markup=False, soft_wrap=True)
    _exit_without_speech([result])


@app.command("compare")
def compare(
    before: Annotated[Path, typer.Argument(help="A result of `voicegraph eval --output`.")],
    after: Annotated[Path, typer.Argument(help="Another one of the same set.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the comparison as JSON.")
    ] = None,
) -> None:
    """Compare two results item by item, with bootstrap intervals."""
    with _errors():
        _check_folder(output)
        one, other = read_result(before), read_result(after)
        tables.print(change_table(one, other, compare_results(one, other)))
        if output is not None:
            _write_json(output, comparison(one, other))
    if one.settings.get("concurrency") != other.settings.get("concurrency") or one.machine != other.machine:
        people.print("machine, versions or concurrency differ: do not compare the times", style="yellow")


@app.command("suite")
def suite(
    path: Annotated[Path, typer.Argument(metavar="SUITE", help="YAML or JSON list of settings.")],
    url: Url = DEFAULT_URL,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    measures: Measures = ALL_MEASURES,
    count: Annotated[int | None, typer.Option(min=2, help="Only the first so many lines.")] = None,
    concurrency: Concurrency = 1,
    api_key: ApiKey = None,
    timeout: Timeout = 120.0,
    audio: Audio = None,
) -> None:
    """Measure all settings of a suite on one server; the same command goes on where one broke off."""
    with _errors():
        asked = read_suite(path)
        chosen = asked.lines(path.parent).first(count)
        evaluation = Evaluation(
            target=_target(url, asked.model, api_key, timeout),
            settings=asked.requests(),
            chosen=chosen,
            measures=_measures(measures, chosen),
            concurrency=concurrency,
        )
        results = _evaluate(evaluation, output / UNFINISHED, audio)
        write_results(output, asked, results)
        baseline = results[asked.baseline]
        tables.print(result_table(baseline, figures(baseline.items)))
        for result in results.values():
            if result is not baseline:
                tables.print(change_table(baseline, result, compare_results(baseline, result)))
    _exit_without_speech(list(results.values()))


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="Results of a suite, or a folder of such folders.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File; else standard output.")] = None,
) -> None:
    """Write results of suites as Markdown."""
    with _errors():
        _check_folder(output)
        text = render(find_results(folder))
        if output is None:
            typer.echo(text, nl=False)
        else:
            output.write_text(text, encoding="utf-8")


def _evaluate(evaluation: Evaluation, unfinished: Path, audio: Path | None) -> dict[str, Result]:
    # Before anything is spoken: a network or recording that cannot be loaded must not cost an hour first.
    references = {line.reference for line in evaluation.chosen.lines if line.reference is not None}
    listener = Listener(evaluation.measures, references)
    spool = Spool(unfinished, evaluation.key)
    with _progress() as progress:
        asyncio.run(evaluation.speak(spool, progress))
        results = evaluation.measure(spool, listener, audio, progress)
    spool.delete()
    return results


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not people.is_terminal:
        yield _tenths
        return
    with ProgressBar(*columns, console=people, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done)

        yield show


def _tenths(phase: str, done: int, total: int) -> None:
    """A line per tenth, for logs."""
    if done * 10 // total > (done - 1) * 10 // total:
        people.print(f"{phase}: {done} of {total}", markup=False)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except EvalError as error:
        people.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from error


def _exit_without_speech(results: list[Result]) -> None:
    for result in results:
        if all(item.failure in ("error", "empty") for item in result.items):
            people.print(f"{result.name}: no item was spoken", style="red", markup=False)
            raise typer.Exit(1)


def _target(url: str, model: str, api_key: str | None, timeout_s: float) -> Target:
    try:
        return Target(base_url=url, model=model, api_key=api_key, timeout_s=timeout_s)
    except ValueError as error:
        raise EvalError(str(error)) from error


def _lines(
    path: Path | None, count: int | None, voices: list[str], folder: Path | None, clone: bool
) -> LineSet:
    chosen = built_in() if path is None else read_set(path)
    return cast(chosen.first(count), voices, recordings(folder) if folder else {}, clone)


def _measures(names: str, chosen: LineSet) -> tuple[str, ...]:
    """`none` measures times only. Without a single reference there is no similarity to measure."""
    wanted = tuple(name.strip() for name in names.split(",") if name.strip())
    wanted = () if wanted == ("none",) else wanted
    if "similarity" in wanted and not any(line.reference for line in chosen.lines):
        people.print("no similarity: no recording of a voice is known; name a folder with --voices")
        wanted = tuple(name for name in wanted if name != "similarity")
    check_measures(wanted)
    return wanted


def _fields(extra: str) -> dict[str, Any]:
    try:
        fields = json.loads(extra)
    except ValueError as error:
        raise EvalError(f"--extra: {extra!r} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise EvalError(f'--extra: {extra!r} is no JSON object like {{"diffusion_steps": 10}}')
    return fields


def _check_folder(output: Path | None) -> None:
    if output is not None and not output.parent.is_dir():
        raise EvalError(f"there is no folder {output.parent}")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
