"""Every block of README and docs, run as a reader would in the folder of the clone; or, where that takes a cluster, a
GPU or minutes, checked for what it names (`FORM_ONLY` says which and why)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cluster import free_port
from start_blocks import Block, blocks, form_only, form_problems, pages
from start_shell import CLI, ROOT, Serving, reader, run, serving

from deployments.weights.registry import model_directory
from serve_app.config_file import load

HERE = re.compile(r"(http|ws)://(?:localhost|127\.0\.0\.1):8000")
LEAST_BYTES = 5000  # of an mp3 with a sentence in it
OTHERS = {"curl", "source"}  # of commands that are run, those that are not ours

ALL = [block for page in pages() for block in blocks(page)]
RUN = [page for page in pages() if any(b.language in {"python", "bash"} for b in blocks(page))]


def test_every_block_says_what_it_is() -> None:
    drawings = [block for block in ALL if not block.language]
    assert {block.language for block in ALL} <= {"", "bash", "python", "yaml"}
    assert all("│" in block.code for block in drawings)
    for page in pages():
        text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
        assert not re.findall(r"^    \S.*$", text, re.MULTILINE), (
            f"{page}: blocks are fenced, with their language"
        )


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "bash"], ids=lambda block: block.page)
def test_what_a_command_names_exists(block: Block) -> None:
    assert [problem for command in block.commands for problem in form_problems(command)] == []
    for command in block.commands:
        assert form_only(command) or command.split()[0] in {"voicegraph", *OTHERS}, command


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("make gone", "no target gone"),
        ("make serve CONFG=x", "no variable CONFG"),
        ("make serve CONFIG=configs/gone.yaml", "no configs/gone.yaml"),
        ("voicegraph say x --pitch 2", "say has no --pitch"),
        ("docker build --file docker/Dockerfile.gone .", "docker/Dockerfile.gone"),
        (".venv/bin/python -m benchmarks.gpu.all --budget 5", "has no --budget"),
    ],
)
def test_what_does_not_exist_is_found(command: str, said: str) -> None:
    (problem,) = form_problems(command)
    assert said in problem


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "yaml"], ids=lambda block: block.page)
def test_a_config_in_a_page_is_one(block: Block, tmp_path: Path) -> None:
    assert yaml.safe_load(block.code)
    path = tmp_path / "page.yaml"
    path.write_text(block.code)
    load(path)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    models = home / ".cache" / "voicegraph" / "models"
    models.mkdir(parents=True)
    (models / "kokoro").symlink_to(model_directory("kokoro"))
    return reader(home, PYTHONPATH=str(ROOT))


@pytest.fixture(scope="module")
def server(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    port = free_port()
    command = [*CLI, "serve", str(ROOT / "configs" / "cpu.yaml"), "--models", "kokoro", "--port", str(port)]
    with serving(command, port, tmp_path_factory.mktemp("server"), environment) as running:
        yield running


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The clone as far as a reader sees it; what commands write stays out of the real one."""
    for path in ROOT.iterdir():
        if not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.weights
@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page_run_one_after_the_other_in_one_shell(
    server: Serving, environment: dict[str, str], clone: Path, page: str
) -> None:
    script = ["set -eu"]
    for number, block in enumerate(blocks(page)):
        if block.language == "bash":
            script += [command for command in block.commands if not form_only(command)]
        elif block.language == "python":
            (clone / f"block{number}.py").write_text(_here(block.code, server))
            # A page that does not speak of the shell is read with that of the README.
            script += ["" if "activate" in "\n".join(script) else "source .venv/bin/activate"]
            script.append(f"python block{number}.py")
    text = _here("\n".join(script), server)
    done = run(["bash", "-c", text], clone, {**environment, "VOICEGRAPH_URL": server.url})
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    for name in re.findall(
        r"(?:-o |stream_to_file\(\")(\S+?\.mp3)", text + "".join(b.code for b in blocks(page))
    ):
        assert (clone / name).stat().st_size > LEAST_BYTES


def _here(text: str, server: Serving) -> str:
    """Where the server of the test is, instead of where that of the reader is."""
    host = server.url.partition("://")[2]
    return HERE.sub(lambda found: f"{found[1]}://{host}", text)
