"""`voicegraph serve` itself: two on one machine, killed, stopped, reloaded, and without its front proxy."""

from __future__ import annotations

import os
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from toy_server import ToyServer, named, toy_server

WORDS = 60
STREAM = "slow " + "one " * (WORDS - 1)  # 3 s
BYTES = WORDS * 4800  # 0.1 s of 24 kHz each

pytestmark = [pytest.mark.alone, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyServer]:
    folder = tmp_path_factory.mktemp("one")
    with toy_server(folder, {"one": {"kind": "toys.tones"}}, limits={"drain_timeout_s": 20}) as running:
        yield running


def streaming(server: ToyServer) -> Future[int]:
    """Bytes of a stream of three seconds that has begun; raises where it is cut."""
    begun: Future[None] = Future()

    def listen() -> int:
        body = {"input": STREAM, "response_format": "pcm"}
        size = 0
        with httpx.stream("POST", f"{server.url}/v1/audio/speech", json=body, timeout=60) as answer:
            for data in answer.iter_bytes():
                size += len(data)
                if not begun.done():
                    begun.set_result(None)
        return size

    heard = ThreadPoolExecutor(1).submit(listen)
    begun.result(30)
    return heard


def test_a_server_at_rest_answers_at_once(server: ToyServer) -> None:
    """Not when something that it does every few seconds wakes it."""
    took_s = []
    for _ in range(7):
        began_s = time.monotonic()
        assert server.speak("one").status_code == 200
        took_s.append(time.monotonic() - began_s)
    assert statistics.median(took_s) < 1.0


def test_two_servers_share_nothing(server: ToyServer, tmp_path: Path) -> None:
    with toy_server(tmp_path / "two", {"two": {"kind": "toys.tones"}}) as other:
        for _ in range(5):
            assert server.speak("one two").headers["x-model"] == "one"
            assert other.speak("one two").headers["x-model"] == "two"
        assert not listening(server) & listening(other)
        # The kernel tells HAProxy of its parent's end, whatever that was.
        family, front = other.family(), other.haproxy()
        assert front is not None
        other.process.send_signal(signal.SIGKILL)
        other.process.wait()
        _, left = psutil.wait_procs(family, timeout=30)
        assert not [each for each in left if named(each) == "haproxy"]
        assert server.speak("one two").headers["x-model"] == "one"


def listening(server: ToyServer) -> set[int]:
    ports = set()
    for process in server.family():
        try:
            found = process.net_connections("tcp")
        except psutil.Error:
            continue
        ports |= {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}
    return ports


def test_a_front_proxy_that_is_killed_is_back_within_two_seconds(server: ToyServer) -> None:
    front = server.haproxy()
    assert front is not None
    front.kill()
    seen: list[int] = []

    def answers() -> bool:
        try:
            seen.append(httpx.get(f"{server.url}/livez", timeout=2).status_code)
        except httpx.TransportError:
            return False
        return seen[-1] == 200

    front.wait(5)
    assert server.until(answers, 15) < 2.5
    assert set(seen) <= {200, 503}  # never a 404, which no client tries again
    assert server.speak("one two").status_code == 200


def test_an_ingress_that_is_gone_is_told_as_openai_would(server: ToyServer) -> None:
    pids = [each for each in server.family() if "Ingress" in named(each) or "Ingress" in title(each)]
    for each in pids:
        each.kill()
    seen = []
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        try:
            answer = httpx.get(f"{server.url}/v1/models", timeout=10)
        except httpx.TransportError:
            continue
        seen.append(answer.status_code)
        if answer.status_code == 200:
            break
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "server_unavailable"
        assert answer.headers["retry-after"] == "2"
    assert seen[-1] == 200


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def replica_pids(server: ToyServer) -> set[int]:
    return {each.pid for each in server.family() if "ServeReplica" in title(each)}


def test_a_changed_limit_is_in_force_without_a_new_replica_or_a_cut_stream(server: ToyServer) -> None:
    before, long = replica_pids(server), "one " * 100
    assert server.speak(long).status_code == 200
    heard = streaming(server)
    content = yaml.safe_load(server.config.read_text(encoding="utf-8"))
    content["applications"][0]["args"]["limits"]["max_input_chars"] = 300
    server.config.write_text(yaml.safe_dump(content), encoding="utf-8")
    os.kill(server.process.pid, signal.SIGHUP)
    took_s = server.until(lambda: server.speak(long).status_code == 400, 20)
    assert took_s < 10
    assert heard.result(30) == BYTES
    server.until(lambda: "reloaded" in server.told, 20)
    assert replica_pids(server) == before


def test_a_file_that_is_wrong_changes_nothing(server: ToyServer) -> None:
    content = server.config.read_text(encoding="utf-8")
    server.config.write_text(content.replace("max_input_chars", "max_imput_chars"), encoding="utf-8")
    os.kill(server.process.pid, signal.SIGHUP)
    server.until(lambda: "not reloaded" in server.told, 20)
    assert "max_imput_chars" in server.told
    server.config.write_text(content, encoding="utf-8")
    assert server.speak("one two").status_code == 200


def test_the_first_signal_lets_streams_end(server: ToyServer) -> None:
    family, heard = server.family(), streaming(server)
    server.process.send_signal(signal.SIGTERM)
    refused = 0
    while not heard.done():
        try:
            answer = server.speak("one")
        except httpx.TransportError:
            break
        if answer.status_code == 503:
            refused += 1
            assert answer.headers["retry-after"]
            assert answer.json()["error"]["code"] == "server_stopping"
            assert httpx.get(f"{server.url}/readyz", timeout=10).status_code == 503
        time.sleep(0.1)
    assert heard.result(30) == BYTES
    assert refused
    server.process.wait(60)
    _, left = psutil.wait_procs(family, timeout=30)
    assert not left
    assert "Traceback" not in server.told
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_the_second_signal_ends_at_once(tmp_path: Path) -> None:
    with toy_server(tmp_path / "three", {"one": {"kind": "toys.tones"}}) as server:
        family, heard = server.family(), streaming(server)
        server.process.send_signal(signal.SIGINT)
        server.until(lambda: "letting streams end" in server.told or server.speak("x").status_code == 503, 20)
        began_s = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        server.process.wait(20)
        assert time.monotonic() - began_s < 5
        with pytest.raises(httpx.TransportError):
            heard.result(30)
        _, left = psutil.wait_procs(family, timeout=30)
        assert not left
