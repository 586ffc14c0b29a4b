"""Ports of one run are of no other."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from serve_app.commands import own_ports
from serve_app.commands.own_ports import BLOCK, take_ports


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


def test_two_runs_share_no_port() -> None:
    one, two = take_ports(), take_ports()
    assert abs(two.first - one.first) >= BLOCK
    for run in (one, two):
        ports = [*run.fallback_proxy, *run.statistics, *run.agents]
        ports += [*range(run.replicas[0], run.replicas[1] + 1)]
        ports += [*range(run.grpc_replicas[0], run.grpc_replicas[1] + 1)]
        assert len(set(ports)) == len(ports)
        assert run.first <= min(ports)
        assert max(ports) < run.first + BLOCK


def test_a_block_is_free_again_when_its_run_ends() -> None:
    one = take_ports()
    one.lock.close()
    assert take_ports().first == one.first


def test_a_block_in_which_somebody_listens_is_left_out() -> None:
    one = take_ports()
    one.lock.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", one.fallback_proxy[0]))
        taken.listen()
        assert take_ports().first != one.first


def test_where_there_is_none_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_ports, "LAST", own_ports.FIRST)
    with pytest.raises(OSError, match="in a row"):
        take_ports()
