from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from commands_server import Answer, ToyWeb, error
from typer.testing import CliRunner

from serve_app.audio.encoders import FORMATS, make_encoder
from serve_app.cli import app

HEADERS = {"X-Model": "toy", "X-Voice": "anna", "X-Sample-Rate": "24000", "Content-Type": "audio/any"}


def audio(name: str, seconds: float = 0.5) -> bytes:
    rate_hz = FORMATS[name].default_rate_hz
    samples = (0.3 * np.sin(np.arange(round(seconds * rate_hz)) * 0.05)).astype(np.float32)
    encoder = make_encoder(FORMATS[name], rate_hz, samples_total=len(samples))
    return encoder.write(samples) + encoder.close()


def say(*arguments: str, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["say", *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize("name", FORMATS)
def test_the_ending_names_the_format(web: ToyWeb, tmp_path: Path, name: str) -> None:
    web.answer = Answer(audio(name), headers=HEADERS)
    output = tmp_path / f"out.{name.upper()}"
    result = say("Hello.", "-o", str(output), "-v", "anna", "--speed", "1.5", "--seed", "3", "--url", web.url)
    assert result.exit_code == 0, result.stderr
    assert output.read_bytes() == web.answer.body
    assert web.paths == ["/v1/audio/speech"]
    assert web.bodies == [
        {
            "model": "auto",
            "input": "Hello.",
            "response_format": name,
            "speed": 1.5,
            "stream": name != "wav",
            "voice": "anna",
            "seed": 3,
        }
    ]
    shown = re.search(
        r": ([\d.]+) s by toy / anna; first audio [\d.]+ s, total [\d.]+ s, RTF [\d.]+", result.stderr
    )
    assert shown is not None, result.stderr
    assert float(shown[1]) == pytest.approx(0.5, abs=0.14)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]


def test_a_dash_reads_standard_input(web: ToyWeb, tmp_path: Path) -> None:
    web.answer = Answer(audio("pcm"), headers=HEADERS)
    say("-", "-o", str(tmp_path / "out.pcm"), "--url", web.url, stdin="From a pipe, 你好.")
    assert web.bodies[0]["input"] == "From a pipe, 你好."


def test_a_slash_at_the_end_of_the_address_does_no_harm(web: ToyWeb, tmp_path: Path) -> None:
    web.answer = Answer(audio("pcm"), headers=HEADERS)
    assert say("x", "-o", str(tmp_path / "o.pcm"), "--url", f"{web.url}/").exit_code == 0
    assert web.paths == ["/v1/audio/speech"]


def test_the_message_of_the_server_is_shown_and_the_old_file_kept(web: ToyWeb, tmp_path: Path) -> None:
    output = tmp_path / "out.mp3"
    output.write_bytes(b"old")
    web.answer = error(404, "voice 'x' does not exist [bold]")
    result = say("Hello.", "-v", "x", "-o", str(output), "--url", web.url)
    assert result.exit_code == 1
    assert result.stderr == "404: voice 'x' does not exist [bold]\n"
    assert output.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [output]


def test_an_answer_that_is_not_ours(web: ToyWeb, tmp_path: Path) -> None:
    web.answer = Answer(b"<html>bad gateway</html>", 502)
    result = say("Hello.", "-o", str(tmp_path / "out.mp3"), "--url", web.url)
    assert result.exit_code == 1
    assert result.stderr.startswith("502: <html>")
    web.answer = Answer(b"[1]", 500)
    assert say("Hello.", "-o", str(tmp_path / "out.mp3"), "--url", web.url).stderr.startswith("500: [1]")


def test_audio_that_breaks_off_leaves_no_file(web: ToyWeb, tmp_path: Path) -> None:
    web.answer = Answer(audio("mp3"), headers=HEADERS, promised=10**6)
    result = say("Hello.", "-o", str(tmp_path / "out.mp3"), "--url", web.url)
    assert result.exit_code == 1
    assert "broke off" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_answer_without_audio(web: ToyWeb, tmp_path: Path) -> None:
    web.answer = Answer(b"", headers=HEADERS)
    result = say("Hello.", "-o", str(tmp_path / "out.mp3"), "--url", web.url)
    assert result.exit_code == 1
    assert "no audio" in result.stderr


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "localhost:8000", "http://", "ftp://x", "http://[::1", ""]
)
def test_addresses_where_nobody_answers(tmp_path: Path, url: str) -> None:
    result = say("Hello.", "-o", str(tmp_path / "out.mp3"), "--url", url)
    assert result.exit_code in {1, 2}
    assert "--url" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["speech", "speech.ogg", "mp3", ".mp3"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    result = say("Hello.", "-o", str(tmp_path / name))
    assert result.exit_code == 2
    assert "must be one of mp3, wav" in result.stderr


def test_a_folder_that_is_not_there(web: ToyWeb, tmp_path: Path) -> None:
    result = say("Hello.", "-o", str(tmp_path / "no" / "out.mp3"), "--url", web.url)
    assert result.exit_code == 2
    assert "no folder" in result.stderr
    assert web.paths == []


def test_an_argument_that_is_not_valid_text(web: ToyWeb, tmp_path: Path) -> None:
    result = say("caf\udce9", "-o", str(tmp_path / "out.mp3"), "--url", web.url)
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr
    assert web.paths == []


@pytest.mark.parametrize("arguments", [["--speed", "9"], ["--speed", "x"], ["--seed", "-1"]])
def test_options_out_of_range(arguments: list[str]) -> None:
    assert say("Hello.", *arguments).exit_code == 2
