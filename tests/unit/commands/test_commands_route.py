"""`voicegraph route`: what a request would get, as it is printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from commands_server import Answer, ToyWeb
from typer.testing import CliRunner

from serve_app.cli import app

TRIED = {
    "model": "near",
    "reason": "best-within-budget",
    "objections": [],
    "wishes_unmet": ["does not follow instructions"],
    "state": "up",
    "first_audio_ms": 120.4,
    "audio_s_per_s": 4.25,
    "quality_rank": 3,
}
UNTRIED = TRIED | {
    "model": "far",
    "reason": None,
    "objections": ["cannot clone a voice"],
    "wishes_unmet": [],
    "state": "down",
    "first_audio_ms": None,
    "audio_s_per_s": None,
}


def answer(**fields: Any) -> Answer:
    found = {"model": "near", "reason": "best-within-budget", "rule": None, "problem": None}
    return Answer(json.dumps(found | {"candidates": [TRIED, UNTRIED]} | fields).encode())


@pytest.fixture
def said(web: ToyWeb) -> Any:
    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["route", *arguments, "--url", web.url], env={"COLUMNS": "200"})
        return done.exit_code, done.output

    return run


def test_the_model_is_said_in_one_line(web: ToyWeb, said: Any) -> None:
    web.answer = answer()
    assert said("Hello.", "--voice", "anna", "--budget", "300", "--tag", "agent", "--no-fallback") == (
        0,
        "near (best-within-budget)\n",
    )
    assert web.paths == ["/v1/audio/route"]
    sent = {name: value for name, value in web.bodies[0].items() if value is not None}
    assert sent == {
        "input": "Hello.",
        "model": "auto",
        "voice": "anna",
        "latency_budget_ms": 300.0,
        "tags": ["agent"],
        "fallback": False,
    }


def test_every_model_is_explained(web: ToyWeb, said: Any) -> None:
    web.answer = answer()
    status, output = said("Hello.", "--explain")
    assert status == 0
    near = next(line for line in output.splitlines() if "near" in line)
    far = next(line for line in output.splitlines() if "far" in line)
    assert all(part in near for part in ("1", "120 ms", "4.2", "up", "does not follow instructions"))
    assert all(part in far for part in ("not tried", "unknown", "down", "cannot clone a voice"))


def test_where_nobody_can_serve_the_reason_is_said(web: ToyWeb, said: Any) -> None:
    web.answer = answer(model=None, reason=None, problem="no model can serve this request: far …")
    assert said("Hello.") == (1, "no model can serve this request: far …\n")


def test_a_refusal_is_one_line(web: ToyWeb, said: Any) -> None:
    web.answer = Answer(b'{"error": {"message": "model \'x\' does not exist"}}', status=404)
    status, output = said("Hello.", "-m", "x")
    assert (status, output.strip()) == (1, "404: model 'x' does not exist")
