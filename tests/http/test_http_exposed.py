"""A whole server as a stranger on the network meets it: one port, keys, and no patience with those who dawdle."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
import yaml
from cluster import TESTS, free_port
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from serve_app.keys.key_file import KeyFile

ROOT = TESTS.parent
GIVE_UP_S = 600  # as of a server that will never be ready
PATIENCE_S = 30.0  # of the server; and then some for a busy machine
SLACK_S = 20.0
BODY = {"input": "one two three", "response_format": "pcm"}

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@dataclass(frozen=True)
class Exposed:
    process: subprocess.Popen[bytes]
    port: int
    key: str
    keys: KeyFile
    told: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def voicegraph(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from serve_app.cli import main; main()", *arguments]


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join((str(ROOT), str(TESTS))),
    "COLUMNS": "200",
}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    folder = tmp_path_factory.mktemp("exposed")
    keys, port = KeyFile(folder / "keys.json"), free_port()
    made = subprocess.run(
        voicegraph("keys", "add", "Ada", "--file", str(keys.path)),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    args = {
        "models": {"toy": {"kind": "toys.tones"}},
        "auth": {"keys_file": str(keys.path)},
        "voices": {"url": str(folder / "voices")},
    }
    application = {
        "name": "voicegraph",
        "route_prefix": "/",
        "import_path": "serve_app.app:build",
        "args": args,
    }
    config = {"http_options": {"host": "127.0.0.1", "port": port}, "applications": [application]}
    (folder / "toy.yaml").write_text(yaml.safe_dump(config))
    log = folder / "serve.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            voicegraph("serve", str(folder / "toy.yaml"), "--host", "0.0.0.0"),
            env=ENVIRONMENT,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + GIVE_UP_S
        while "Ctrl-C stops." not in (told := log.read_text("utf-8", errors="replace")):
            assert process.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.2)
        yield Exposed(process, port, made.stdout.strip(), keys, told)
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGINT)
        process.wait(GIVE_UP_S)
        psutil.wait_procs(family, timeout=SLACK_S)


def test_only_the_public_port_listens_to_the_network(exposed: Exposed) -> None:
    family = [
        psutil.Process(exposed.process.pid),
        *psutil.Process(exposed.process.pid).children(recursive=True),
    ]
    listening = {
        (connection.laddr.ip, connection.laddr.port, process.name())
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    public = {each for each in listening if each[0] not in ("127.0.0.1", "::1")}
    assert {(ip, port) for ip, port, _ in public} == {("0.0.0.0", exposed.port)}, public
    assert len(listening) > 5, "the others were not found at all"


def test_it_does_not_warn_of_strangers_where_it_asks_for_keys(exposed: Exposed) -> None:
    assert "Whoever reaches" not in exposed.told


def test_keys_over_the_network(exposed: Exposed) -> None:
    speech = f"{exposed.url}/v1/audio/speech"
    assert httpx.get(f"{exposed.url}/readyz").status_code == 200
    refused = httpx.post(speech, json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert httpx.post(speech, json=BODY, headers=exposed.headers).status_code == 200


def test_keys_come_and_go_without_a_restart(exposed: Exposed) -> None:
    def keys(*arguments: str) -> str:
        command = voicegraph("keys", *arguments, "--file", str(exposed.keys.path))
        return subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, check=True
        ).stdout.strip()

    key = keys("add", "Ben")
    models = f"{exposed.url}/v1/models"
    time.sleep(1.5)
    assert httpx.get(models, headers={"xi-api-key": key}).status_code == 200
    keys("revoke", key[3:11])
    time.sleep(1.5)
    assert httpx.get(models, headers={"xi-api-key": key}).status_code == 401


def test_sessions_over_the_network(exposed: Exposed) -> None:
    url = f"ws://127.0.0.1:{exposed.port}/v1/audio/speech/stream"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code in (401, 403)
    protocols = ["voicegraph", f"openai-insecure-api-key.{exposed.key}"]
    for options in ({"additional_headers": exposed.headers}, {"subprotocols": protocols}):
        with connect(url, **options) as session:  # type: ignore[arg-type]
            session.send(json.dumps({"type": "session.config", "response_format": "pcm"}))
            session.send(json.dumps({"type": "input.text", "text": "One two."}))
            session.send(json.dumps({"type": "input.done"}))
            assert json.loads(session.recv(20))["type"] == "audio.start"
    with (
        pytest.raises(InvalidStatus),
        connect(url, additional_headers=exposed.headers, origin="https://evil.example"),
    ):
        pass


def drip(exposed: Exposed, first: bytes, rest: bytes) -> tuple[float, bytes]:
    """Send a byte a second after `first`; how long the server stood it, and what it said."""
    began_s = time.monotonic()
    said = b""
    with socket.create_connection(("127.0.0.1", exposed.port)) as client:
        client.sendall(first)
        client.settimeout(1.0)
        for at in range(len(rest)):
            try:
                client.sendall(rest[at : at + 1])
                part = client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not part:
                break
            said += part
    return time.monotonic() - began_s, said


def test_headers_that_never_end(exposed: Exposed) -> None:
    took_s, _ = drip(exposed, b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"X-Header: " + b"a" * 90)
    assert PATIENCE_S - 5 < took_s < PATIENCE_S + SLACK_S


def test_a_body_that_never_ends(exposed: Exposed) -> None:
    head = (
        "POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {exposed.key}\r\nContent-Length: 5000\r\n\r\n"
    )
    took_s, said = drip(exposed, head.encode(), b" " * 100)
    assert PATIENCE_S - 5 < took_s < PATIENCE_S + SLACK_S
    assert b" 408 " in said.split(b"\r\n")[0]
    assert b"request_timeout" in said


def test_others_are_served_while_a_hundred_dawdle(exposed: Exposed) -> None:
    dawdling = [socket.create_connection(("127.0.0.1", exposed.port)) for _ in range(100)]
    try:
        for client in dawdling:
            client.sendall(b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\n")
        answer = httpx.post(f"{exposed.url}/v1/audio/speech", json=BODY, headers=exposed.headers, timeout=20)
        assert answer.status_code == 200
    finally:
        for client in dawdling:
            client.close()
