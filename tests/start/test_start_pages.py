"""Whatever the blocks of README and docs name exists. Those that can be run here are, in test_start_reader.py; the
others are looked at alone: `FORM_ONLY` says which and why."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from start_blocks import Block, blocks, form_only, form_problems, pages
from start_shell import ROOT

from serve_app.config_file import load

OTHERS = {"curl", "source"}  # of commands that are run, those that are not ours

ALL = [block for page in pages() for block in blocks(page)]


def test_every_block_says_what_it_is() -> None:
    drawings = [block for block in ALL if not block.language]
    assert {block.language for block in ALL} <= {"", "bash", "json", "python", "text", "yaml"}
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
    """Or part of one: then it stands in a config that has all models."""
    content = yaml.safe_load(block.code)
    if not any("import_path" in application for application in content["applications"]):
        content = with_part(yaml.safe_load((ROOT / "configs/cluster.yaml").read_text("utf-8")), content)
    path = tmp_path / "page.yaml"
    path.write_text(yaml.safe_dump(content))
    load(path)


def with_part(whole: Any, part: Any) -> Any:
    """`whole` with the keys of `part`; entries of lists that have the same name are one."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return whole | {key: with_part(whole.get(key), value) for key, value in part.items()}
    if isinstance(whole, list) and isinstance(part, list):
        named = {entry["name"]: entry for entry in whole}
        changed = {entry["name"]: with_part(named.get(entry["name"]), entry) for entry in part}
        return [*(named | changed).values()]
    return part


@pytest.mark.parametrize("block", [b for b in ALL if b.language == "json"], ids=lambda block: block.page)
def test_json_in_a_page_is_json(block: Block) -> None:
    assert json.loads(block.code)
