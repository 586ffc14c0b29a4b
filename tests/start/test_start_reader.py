"""Every block of README and docs that can be run here, as a reader runs it: in the folder of the clone, one shell for
a page, against one server. What needs a cluster, a GPU or minutes is passed over (`FORM_ONLY`)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import free_port
from start_blocks import blocks, form_only, pages
from start_shell import CLI, ROOT, Serving, reader, run, serving

from deployments.weights.registry import model_directory

HERE = re.compile(r"(http|ws)://(?:localhost|127\.0\.0\.1):8000")
LEAST_BYTES = 5000  # of an mp3 with a sentence in it
RUN = [page for page in pages() if any(block.language in {"python", "bash"} for block in blocks(page))]

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.weights]


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
