"""The commands and snippets of the README, run as they are (but for the port)."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import Cluster

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, flags=re.S)
SHELL = [
    line
    for language, block in BLOCKS
    if language == "bash"
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith(("curl", "voicegraph"))
]
PYTHON = [block for language, block in BLOCKS if language == "python"]


def test_there_is_something_to_run() -> None:
    assert len(SHELL) >= 5
    assert len(PYTHON) >= 2


@pytest.mark.parametrize("command", SHELL)
def test_shell_command(kokoro: Cluster, tmp_path: Path, command: str) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "VOICEGRAPH_URL": kokoro.url,
    }
    local = command.replace("http://localhost:8000", kokoro.url)
    done = subprocess.run(
        local,
        shell=True,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"-o (\S+\.mp3)", command):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.parametrize("snippet", PYTHON)
async def test_python_snippet(
    kokoro: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, snippet: str
) -> None:
    monkeypatch.chdir(tmp_path)
    local = snippet.replace("http://localhost:8000", kokoro.url)
    code = compile(local, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, {"__name__": "readme"})
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target
