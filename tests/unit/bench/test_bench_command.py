from __future__ import annotations

import asyncio
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
import typer
from bench_toy_server import Script, ToyServer, silence
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from serve_app.bench.command import bench
from serve_app.bench.machine import Machine, describe_machine
from serve_app.bench.metrics import summarise
from serve_app.bench.report import read_traces, report, table

app = typer.Typer()
app.command()(bench)

SPEC_NAMES = {
    "audio_ttfa_seconds",
    "request_latency_seconds",
    "audio_duration_seconds",
    "audio_rtf",
    "audio_underrun_seconds",
    "audio_continuity_ok_total",
    "requests_total",
    "stream_aborted_total",
}


async def bench_command(*arguments: str) -> Result:
    """In a thread, because the command starts a loop of its own and the toy server needs this one."""
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))


async def test_json_on_standard_output_and_traces_that_give_the_same_figures(
    toy: ToyServer, tmp_path: Path
) -> None:
    traces = tmp_path / "traces.jsonl"
    result = await bench_command(
        toy.url, "--requests", "6", "--concurrency", "3", "--api-key", "secret", "--output", "-",
        "--traces", str(traces), "--extra", '{"seed": 1}',
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = json.loads(result.stdout)
    assert "secret" not in result.output
    assert written["settings"]["load"] == {"concurrency": 3, "requests": 6}
    assert written["settings"]["extra"] == {"seed": 1}
    assert written["machine"]["cores"] >= 1
    metrics = written["metrics"]
    assert metrics.keys() >= SPEC_NAMES
    assert metrics["requests_total"] == {"200": 6}
    assert metrics["audio_ttfa_seconds"]["count"] == 6
    assert metrics["audio_seconds_total"] == pytest.approx(0.6)
    assert metrics["audio_continuity_c100"] == 1.0
    again = report(summarise(read_traces(traces)), written["settings"])
    assert metrics == again["metrics"]


async def test_the_table_and_the_file(toy: ToyServer, tmp_path: Path) -> None:
    texts, output = tmp_path / "texts", tmp_path / "report.json"
    texts.write_text("hello\nfull\n", encoding="utf-8")
    toy.scripts["full"] = Script(status=503, headers={})
    result = await bench_command(
        toy.url, "--rate", "200", "--duration", "0.1", "--texts", str(texts), "--output", str(output)
    )
    assert result.exit_code == 0, result.output
    assert "first audio (ms)" in result.stdout
    assert "http_503: the queue is full" in result.stderr
    written = json.loads(output.read_text(encoding="utf-8"))
    assert written["settings"]["load"] == {"rate_per_s": 200.0, "duration_s": 0.1, "seed": 0}
    assert {body["input"] for body in toy.bodies} == {"hello", "full"}


async def test_a_run_without_success_reports_and_fails(toy: ToyServer, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.write_text("broken", encoding="utf-8")
    toy.scripts["broken"] = Script([(0.0, silence(0.1))], breaks=True)
    result = await bench_command(toy.url, "--requests", "2", "--warmup", "0", "--texts", str(texts))
    assert result.exit_code == 1
    assert "broken_stream" in result.stdout


async def test_a_server_that_is_not_there(unused_tcp_port: int) -> None:
    result = await bench_command(f"http://127.0.0.1:{unused_tcp_port}")
    assert result.exit_code == 1
    assert "is the server up" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--rate", "1", "--requests", "5"], "--rate"),
        (["--duration", "5"], "--duration"),
        (["--rate", "0"], "above 0"),
        (["--extra", "[1]"], "--extra"),
        (["--extra", "{"], "--extra"),
        (["--extra", '{"voice": "x"}'], "voice"),
        (["--format", "midi"], "midi"),
        (["--language", "xx"], "--language"),
        (["--texts", "/nowhere/at/all"], "/nowhere/at/all"),
        (["localhost:8000"], "http://"),
        (["--concurrency", "0"], "--concurrency"),
    ],
)
async def test_options_that_make_no_sense_are_named(arguments: list[str], named: str) -> None:
    result = await bench_command(*arguments)
    assert result.exit_code in (1, 2)
    assert named in result.stderr


def test_a_report_of_nothing_is_still_a_report() -> None:
    machine = Machine("cpu", 2, "os", "3.11", None, None, None)
    at = datetime(2026, 1, 2, tzinfo=timezone.utc)
    written = report(summarise([]), {}, machine=machine, commit="abc", at=at)
    assert (written["commit"], written["time"]) == ("abc", "2026-01-02T00:00:00+00:00")
    assert written["metrics"]["audio_ttfa_seconds"] is None
    assert json.loads(json.dumps(written)) == written
    console = Console(width=120, record=True, file=None, quiet=True)
    console.print(table(summarise([]), "nothing"))


def test_the_machine_is_described_without_loading_what_it_names() -> None:
    machine = describe_machine()
    assert machine.cpu
    assert machine.torch
    assert machine.ray
