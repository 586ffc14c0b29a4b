from __future__ import annotations

import asyncio
import json
from pathlib import Path

from click.testing import Result
from quality_toy_server import ToyServer
from typer.testing import CliRunner

from serve_app.cli import app

SETTINGS = "title: Toy\nbaseline: plain\ncount: 3\nsettings:\n  plain: {}\n  quick: {speed: 2.0}\n"


async def evaluate(*arguments: str) -> Result:
    """In a thread, because the command starts a loop of its own and the toy server needs this one."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["eval", *arguments])


async def test_measure_twice_and_compare(toy: ToyServer, tmp_path: Path) -> None:
    one, two, changes = (str(tmp_path / name) for name in ("a.json", "b.json", "c.json"))
    times = ("--count", "3", "--measures", "none")
    first = await evaluate(toy.url, *times, "--output", one)
    assert first.exit_code == 0, first.output
    assert "first audio, median" in first.stdout
    second = await evaluate("--extra", '{"speed": 2}', "--no-stream", *times, "-o", two, toy.url)
    assert second.exit_code == 0, second.output
    assert (toy.bodies[-1]["speed"], toy.bodies[-1]["stream"]) == (2, False)
    written = json.loads(Path(two).read_text(encoding="utf-8"))
    assert (written["name"], written["settings"]["fields"]["speed"]) == ("b", 2)
    assert len(written["items"]) == 3
    compared = await evaluate("compare", one, two, "--output", changes)
    assert compared.exit_code == 0, compared.output
    assert "a → b" in compared.stdout
    figures = [
        change["figure"] for change in json.loads(Path(changes).read_text(encoding="utf-8"))["changes"]
    ]
    assert figures == ["rtf", "first_audio_p50", "first_audio_p95"]


async def test_a_suite_and_its_report(toy: ToyServer, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SETTINGS, encoding="utf-8")
    folder = tmp_path / "results" / "toy"
    done = await evaluate(
        "suite", str(tmp_path / "suite.yaml"), toy.url, "--measures", "none", "--output", str(folder)
    )
    assert done.exit_code == 0, done.output
    assert "plain → quick" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["00-plain.json", "01-quick.json", "suite.json"]
    shown = await evaluate("report", str(tmp_path / "results"))
    assert "## Toy" in shown.stdout
    assert "| quick | " in shown.stdout


async def test_without_a_reference_there_is_no_similarity(toy: ToyServer) -> None:
    done = await evaluate(toy.url, "--count", "1", "--measures", "similarity")
    assert done.exit_code == 0, done.output
    assert "no similarity" in done.stderr


async def test_mistakes_end_with_one_line(toy: ToyServer, tmp_path: Path) -> None:
    for arguments, said in (
        (["ftp://nowhere"], "no address"),
        ([toy.url, "--extra", "[]"], "no JSON object"),
        ([toy.url, "--measures", "loudness"], "no measure loudness"),
        ([toy.url, "--set", str(tmp_path / "gone")], "cannot read the set"),
        (["http://127.0.0.1:9", "--measures", "none"], "does not speak"),
        (["compare", str(tmp_path / "a"), str(tmp_path / "b")], "cannot read"),
        (["report", str(tmp_path)], "holds no results"),
    ):
        done = await evaluate(*arguments)
        assert done.exit_code == 1, done.output
        assert said in done.stderr
        assert "Traceback" not in done.output


async def test_a_server_that_fails_every_item(toy: ToyServer) -> None:
    from serve_app.quality.sentences import ENGLISH

    toy.answers = dict.fromkeys(ENGLISH[:2], 500)
    done = await evaluate(toy.url, "--count", "2", "--measures", "none")
    assert done.exit_code == 1
    assert "2 of 2 (2 error)" in done.stdout
