from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import Result
from commands_server import Answer, ToyWeb, error
from typer.testing import CliRunner

from deployments.core.errors import CheckpointError
from serve_app.cli import app
from serve_app.commands.own_ports import refusal
from serve_app.commands.serve import _names

CPU = Path(__file__).parents[3] / "configs" / "cpu.yaml"


def voicegraph(*arguments: str) -> Result:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_every_command_explains_itself() -> None:
    listed = voicegraph("--help").stdout
    for command in ("serve", "say", "voices", "models", "check", "bench"):
        assert command in listed
        assert voicegraph(command, "--help").exit_code == 0
    assert voicegraph("nothing").exit_code == 2


# voices


def test_voices_are_listed(web: ToyWeb) -> None:
    voice = {
        "id": "af_heart",
        "name": "Heart",
        "model": "kokoro",
        "models": ["kokoro"],
        "language": "en",
        "gender": None,
        "aliases": ["marin"],
        "uploaded": False,
    }
    web.answer = Answer(json.dumps({"voices": [voice]}).encode())
    result = voicegraph("voices", "--url", web.url)
    assert result.exit_code == 0, result.stderr
    assert "af_heart" in result.stdout
    assert "marin" in result.stdout
    voicegraph("voices", "-m", "kokoro", "--url", web.url)
    assert web.paths == ["/v1/audio/voices", "/v1/audio/voices?model=kokoro"]


def test_voices_of_an_unknown_model(web: ToyWeb) -> None:
    web.answer = error(404, "model 'x' does not exist")
    result = voicegraph("voices", "-m", "x", "--url", web.url)
    assert (result.exit_code, result.stderr) == (1, "404: model 'x' does not exist\n")


# check


@pytest.mark.slow
def test_check_says_ok_and_lists_faults(tmp_path: Path) -> None:
    result = voicegraph("check", str(CPU))
    assert (result.exit_code, result.stderr) == (0, f"{CPU}: ok\n")
    bad = tmp_path / "bad.yaml"
    content = yaml.safe_load(CPU.read_text(encoding="utf-8"))
    content["applications"][0]["deployments"][2]["num_replica"] = 2
    content["applications"][0]["args"]["x[y]"] = 1
    bad.write_text(yaml.safe_dump(content), encoding="utf-8")
    result = voicegraph("check", str(CPU), str(bad), str(tmp_path / "missing.yaml"))
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert "num_replica: unknown option; did you mean num_replicas?" in lines[1]
    assert "args.x[y]" in lines[2]
    assert "cannot be read" in lines[3]


def test_check_files_names_missing_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise CheckpointError(f"{name} is not here; run: voicegraph models pull {name}")

    monkeypatch.setattr("deployments.kokoro.pipeline.find_model", missing)
    result = voicegraph("check", "--files", str(CPU))
    assert result.exit_code == 1
    assert "voicegraph models pull kokoro" in result.stderr


# config


def test_the_package_brings_its_configs(tmp_path: Path) -> None:
    assert voicegraph("config", "show", "cpu").stdout == CPU.read_text(encoding="utf-8")
    assert [line.split()[0] for line in voicegraph("config", "ls").stdout.splitlines()] == [
        "cluster",
        "cpu",
        "gpu-24g",
        "gpu-80g",
        "indextts2-tiny",
        "indextts2.5-tiny",
        "voxcpm-tiny",
    ]
    refused = voicegraph("config", "show", "gpu")
    assert (
        refused.exit_code,
        "named cluster, cpu, gpu-24g, gpu-80g, indextts2-tiny, indextts2.5-tiny, voxcpm-tiny"
        in refused.stderr,
    ) == (1, True)


def test_the_release_is_printed() -> None:
    assert voicegraph("--version").stdout.startswith("voicegraph 0.")


# models


def test_models_are_listed() -> None:
    listed = voicegraph("models", "ls").stdout
    assert "kokoro" in listed
    assert "Apache-2.0" in listed


def test_a_model_that_does_not_exist() -> None:
    result = voicegraph("models", "pull", "nothing")
    assert result.exit_code == 1
    assert "nothing" in result.stderr
    assert "kokoro" in result.stderr


def test_verify_lists_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = ["a.bin: damaged [x]", "b.bin: missing"]
    # The real one imports torch, which takes seconds.
    fake = SimpleNamespace(verify=lambda name: problems)
    monkeypatch.setitem(sys.modules, "deployments.weights.verify", fake)
    result = voicegraph("models", "verify", "kokoro")
    assert (result.exit_code, result.stderr) == (1, "a.bin: damaged [x]\nb.bin: missing\n")
    problems.clear()
    assert voicegraph("models", "verify", "kokoro").exit_code == 0


# serve (what it does before anything starts)


@pytest.fixture
def never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr("serve_app.commands.serve.run", run)
    monkeypatch.setattr("serve_app.commands.provision.check_files", lambda loaded: [])


@pytest.mark.usefixtures("never_started")
def test_serve_refuses_a_busy_port_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = voicegraph("serve", str(CPU), "--port", str(port))
    assert result.exit_code == 1
    assert (
        result.stderr.strip() == f"port {port} is in use; choose another with --port (or make serve PORT=…)"
    )


@pytest.mark.usefixtures("never_started")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.yaml"], "cannot be read"),
        ([str(CPU), "--models", "other"], "'other' is not in this file; it has kokoro, indextts2"),
        ([str(CPU), "--models", ","], "at least one model"),
    ],
)
def test_serve_refuses_a_wrong_config(arguments: list[str], message: str) -> None:
    result = voicegraph("serve", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.usefixtures("never_started")
def test_serve_refuses_missing_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "model 'kokoro': missing; run: voicegraph models pull kokoro"
    monkeypatch.setattr("serve_app.commands.provision.check_files", lambda loaded: [problem])
    result = voicegraph("serve", str(CPU))
    assert (result.exit_code, result.stderr.strip()) == (1, problem)


def test_serve_starts_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(
        "serve_app.commands.serve.run",
        lambda loaded, *_: started.append((loaded.serve, list(loaded.args.models))),
    )
    monkeypatch.setattr("serve_app.commands.provision.check_files", lambda loaded: [])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--port", str(port), "--host", "0.0.0.0", "--models", "kokoro")
    assert voicegraph("serve", str(CPU), *options).exit_code == 0
    ((schema, models),) = started
    assert (schema.http_options.host, schema.http_options.port) == ("0.0.0.0", port)
    assert models == ["kokoro"]


@pytest.mark.usefixtures("never_started")
@pytest.mark.parametrize("host", ["no.such.host.invalid", "198.51.100.1"])
def test_a_host_that_is_not_this_machines_is_one_clear_line(host: str) -> None:
    result = voicegraph("serve", str(CPU), "--host", host)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"cannot listen on {host}:8000: ")


@pytest.mark.parametrize("port", ["0", "70000", "x"])
def test_ports_out_of_range(port: str) -> None:
    assert voicegraph("serve", "--port", port).exit_code == 2


def test_names_are_separated_by_commas() -> None:
    assert _names(None) is None
    assert _names("a, b,,c ") == ["a", "b", "c"]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "::1", "::"])
def test_a_free_port_is_free_on_every_kind_of_host(host: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    assert refusal(host, port) is None
