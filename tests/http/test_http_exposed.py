"""A whole server as a stranger on the network meets it: one port, keys, and no patience with those who dawdle."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psutil
import pytest
from cluster import TESTS
from toy_server import ToyServer, toy_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from serve_app.keys.api_key import new_key
from serve_app.keys.key_file import KeyFile
from serve_app.keys.key_ring import LOOK_EVERY_S

PATIENCE_S = 30.0  # of the server; and then some for a busy machine
SLACK_S = 20.0
BODY = {"input": "one two three", "response_format": "pcm"}

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@dataclass(frozen=True)
class Exposed:
    server: ToyServer
    key: str
    keys: KeyFile

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposed]:
    folder = tmp_path_factory.mktemp("exposed")
    keys = KeyFile(folder / "keys.json")
    key, kept = new_key("Ada")
    keys.add(kept)
    models = {"toy": {"kind": "toys.tones"}}
    with toy_server(folder, models, host="0.0.0.0", auth={"keys_file": str(keys.path)}) as server:
        yield Exposed(server, key, keys)


def test_only_the_public_port_listens_to_the_network(exposed: Exposed) -> None:
    family = [psutil.Process(exposed.server.process.pid), *exposed.server.family()]
    listening = {
        (connection.laddr.ip, connection.laddr.port, process.name())
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    public = {each for each in listening if each[0] not in ("127.0.0.1", "::1")}
    assert {(ip, port) for ip, port, _ in public} == {("0.0.0.0", exposed.port)}, public
    assert len(listening) > 5, "the others were not found at all"


SCRIPT = """
from serve_app import connect_blocking

print(connect_blocking(port={port}).speak("one two three").model)
"""


def test_a_script_of_this_machine_reaches_the_graph_without_a_key(exposed: Exposed) -> None:
    command = [sys.executable, "-c", SCRIPT.format(port=exposed.port)]
    path = os.pathsep.join((str(TESTS.parent), str(TESTS)))
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("toy\n", 0), done.stderr


def test_it_does_not_warn_of_strangers_where_it_asks_for_keys(exposed: Exposed) -> None:
    assert "Whoever reaches" not in exposed.server.told


def test_keys_over_the_network(exposed: Exposed) -> None:
    speech = f"{exposed.url}/v1/audio/speech"
    assert httpx.get(f"{exposed.url}/readyz").status_code == 200
    refused = httpx.post(speech, json=BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert httpx.post(speech, json=BODY, headers=exposed.headers).status_code == 200


def test_keys_come_and_go_without_a_restart(exposed: Exposed) -> None:
    key, kept = new_key("Ben")
    exposed.keys.add(kept)
    models = f"{exposed.url}/v1/models"
    time.sleep(LOOK_EVERY_S + 0.5)
    assert httpx.get(models, headers={"xi-api-key": key}).status_code == 200
    exposed.keys.revoke(kept.id)
    time.sleep(LOOK_EVERY_S + 0.5)
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
