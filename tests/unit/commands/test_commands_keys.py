"""`voicegraph keys`, and how the other commands show a key."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from commands_server import Answer, ToyWeb, error
from typer.testing import CliRunner

from serve_app.cli import app
from serve_app.keys.key_file import KeyFile

KEY = "vg_0123abcd_" + "k" * 43


def run(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200", **environment})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "keys.json")


def test_a_key_is_shown_once_and_works(file: str) -> None:
    made = run("keys", "add", "Ada [home]", "--streams", "2", "--speech-only", "--file", file)
    assert made.exit_code == 0, made.stderr
    key = made.stdout.strip()
    (kept,) = KeyFile(Path(file)).read()
    assert kept.opened_by(key)
    assert (kept.name, kept.streams, kept.speech_only, kept.requests_per_minute) == (
        "Ada [home]",
        2,
        True,
        None,
    )
    listed = run("keys", "ls", "--file", file)
    assert re.search(rf"{kept.id} │ Ada \[home\] +│ [\d-]+ +│ – +│ 2 +│ – +│ speak", listed.stdout), (
        listed.stdout
    )
    assert key not in listed.stdout
    assert run("keys", "revoke", kept.id, VOICEGRAPH_KEYS_FILE=file).exit_code == 0
    assert KeyFile(Path(file)).read() == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls"], "there is no file"),
        (["revoke", "x"], "there is no file"),
        (["add", " "], "1 to 100 printable"),
        (["add", "a\nb"], "1 to 100 printable"),
        (["add", "Ada", "--streams", "0"], "--streams"),
    ],
)
def test_faults_are_one_line(file: str, arguments: list[str], said: str) -> None:
    done = run("keys", *arguments, "--file", file)
    assert done.exit_code in {1, 2}
    assert said in done.stderr
    assert not Path(file).exists()


VOICES = Answer(json.dumps({"voices": []}).encode())
ROUTE = Answer(
    json.dumps({"model": "toy", "reason": "r", "rule": None, "problem": None, "candidates": []}).encode()
)


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["voices"], VOICES),
        (["voices", "ls"], VOICES),
        (["voices", "rm", "x"], Answer(b'{"id": "x"}')),
        (["voices", "preload", "x"], Answer(b'{"models": {}}')),
        (
            ["voices", "add", "FILE", "-n", "x"],
            Answer(b'{"id": "x", "name": "x", "duration": 1, "warnings": []}'),
        ),
        (["route", "Hello."], ROUTE),
        (["say", "Hello.", "-o", "OUT"], Answer(b"\0" * 100, headers={"X-Sample-Rate": "24000"})),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_every_command_sends_the_key(
    web: ToyWeb, tmp_path: Path, arguments: list[str], answer: Answer, by_variable: bool
) -> None:
    web.answer = answer
    (tmp_path / "voice.wav").write_bytes(b"RIFF")
    places = {"FILE": str(tmp_path / "voice.wav"), "OUT": str(tmp_path / "out.pcm")}
    command = [places.get(each, each) for each in (*arguments, "--url", web.url)]
    done = run(*command, VOICEGRAPH_API_KEY=KEY) if by_variable else run(*command, "--api-key", KEY)
    assert done.exit_code == 0, done.stderr
    assert web.authorizations == [f"Bearer {KEY}"]


def test_without_a_key_none_is_sent_and_the_refusal_says_what_to_do(web: ToyWeb) -> None:
    web.answer = error(401, "this server asks for an API key")
    done = run("voices", "ls", "--url", web.url)
    assert done.exit_code == 1
    assert web.authorizations == [None]
    assert "--api-key" in done.stderr


@pytest.mark.parametrize("key", ["a\nb", "é"])
def test_what_cannot_be_a_key_is_not_sent(web: ToyWeb, key: str) -> None:
    assert run("voices", "ls", "--url", web.url, "--api-key", key).exit_code == 2
    assert web.paths == []
