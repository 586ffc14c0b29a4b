"""How a script finds the servers of this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.core.errors import Unavailable
from serve_app.running import RunningServer, announced, find_server, running_servers

FIRST = RunningServer(8000, "127.0.0.1:1", "voicegraph")
SECOND = RunningServer(9000, "127.0.0.1:2", "other")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    monkeypatch.setattr("serve_app.running._folder", lambda: folder)
    return folder


def test_a_server_is_found_while_it_runs(folder: Path) -> None:
    with announced(FIRST):
        assert find_server() == FIRST
        assert find_server(8000) == FIRST
    assert running_servers() == []
    assert list(folder.iterdir()) == []


def test_of_several_servers_one_is_named_by_its_port() -> None:
    with announced(FIRST), announced(SECOND):
        assert find_server(9000) == SECOND
        with pytest.raises(Unavailable, match=r"ports 8000, 9000; choose one: connect\(port=8000\)"):
            find_server()
        with pytest.raises(Unavailable, match="at port 7000; there are some at the ports 8000, 9000"):
            find_server(7000)


def test_no_server_is_one_sentence_with_what_to_do() -> None:
    with pytest.raises(Unavailable, match=r"Start one with `make serve`, or .*connect\(address=…\)"):
        find_server()


def test_the_note_of_a_server_that_died_is_removed(folder: Path) -> None:
    with announced(FIRST):
        pass
    code = (
        "import os, sys; from serve_app import running; from pathlib import Path\n"
        f"running._folder = lambda: Path({str(folder)!r})\n"
        "with running.announced(running.RunningServer(8000, 'x', 'y')): os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert [path.name for path in folder.iterdir()] == ["8000.json"]
    assert running_servers() == []
    assert list(folder.iterdir()) == []


def test_notes_that_somebody_else_may_write_are_not_believed(folder: Path) -> None:
    with announced(FIRST):
        folder.chmod(0o777)
        assert running_servers() == []


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"port": 1})])
def test_a_damaged_note_is_no_server(folder: Path, text: str) -> None:
    with announced(FIRST):
        (folder / "8000.json").write_text(text)
        assert running_servers() == []
