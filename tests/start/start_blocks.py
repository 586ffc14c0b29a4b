"""The blocks of a page, and whether what they name exists: targets, files, commands, options."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from start_shell import ROOT
from typer.main import get_command

from serve_app.cli import app

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Why a command is looked at and not run. The longest beginning that fits counts.
FORM_ONLY = {
    "make": "installs and starts for minutes; tests/http/test_http_serve_command.py and tests/start do so",
    "docker": "needs Docker",
    "helm": "needs a cluster",
    "kubectl": "needs a cluster",
    ".venv/bin/python": "needs a GPU",
    "python -c": "reads what a reader has: the id of a request, for instance",
    "python -m benchmarks": "takes minutes",
    "python -m pytest": "is run with fewer cases by `make test`",
    "curl -s http://localhost:9000": "has another port in tests; tests/http/test_http_observed.py asks there",
    "voicegraph bench http://127.0.0.1:8000 --model indextts2": "needs a GPU",
    "voicegraph capacity my-config.yaml": "reads files of the reader's",
    "voicegraph keys revoke": "takes a key of the reader's",
    "voicegraph eval": "takes minutes; tests/http/test_http_eval.py does so",
}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str

    @property
    def commands(self) -> list[str]:
        """Of a shell block, without comments; a command that is continued is one."""
        joined = self.code.replace("\\\n", " ")
        lines = (re.sub(r"\s+# .*$", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def pages() -> list[str]:
    return ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    return [Block(page, language, code) for language, code in FENCED.findall(text)]


def form_only(command: str) -> str | None:
    """Why the command is not run, or None."""
    fitting = [each for each in FORM_ONLY if re.match(rf"{re.escape(each)}[ ./]", f"{command} ")]
    return FORM_ONLY[max(fitting, key=len)] if fitting else None


def form_problems(command: str) -> list[str]:
    """What the command names and does not exist."""
    words = shlex.split(command)
    problems = [word for word in words if _is_place(word) and not (ROOT / word).exists()]
    look = LOOKS.get(words[0])
    return [f"{command}: {problem}" for problem in (*problems, *(look(words[1:]) if look else ()))]


def _is_place(word: str) -> bool:
    """A path of the repository, as far as a word shows it; what is written (a.json, hello.mp3) has none of these."""
    return bool(re.match(r"(configs|docker|docs|k8s|benchmarks|tests|models)/", word))


def _make(words: list[str]) -> list[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    problems = []
    for word in words:
        name, is_variable, value = word.partition("=")
        if is_variable:
            problems += [] if re.search(rf"^{name} \?=", makefile, re.MULTILINE) else [f"no variable {name}"]
            problems += [f"no {value}"] if _is_place(value) and not (ROOT / value).exists() else []
        elif not re.search(rf"^{name}:", makefile, re.MULTILINE):
            problems.append(f"no target {name}")
    return problems


def _voicegraph(words: list[str]) -> list[str]:
    command: Any = get_command(app)
    rest = list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    command = getattr(command, "commands", {}).get(
        "run", command
    )  # what a group does that is given no command
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word not in known]
    return [f"{command.name} has no {word}" for word in unknown]


def _docker(words: list[str]) -> list[str]:
    dockerfile = (ROOT / "docker" / "Dockerfile.gpu").read_text("utf-8")
    mounts = [word.partition(":")[2] for option, word in itertools.pairwise(words) if option == "--volume"]
    return [f"the image has no volume {mount}" for mount in mounts if f"VOLUME {mount}" not in dockerfile]


def _python(words: list[str]) -> list[str]:
    if words[0] != "-m" or words[1] == "pytest":
        return []
    place = ROOT / (words[1].replace(".", "/") + ".py")
    if not place.exists():
        return [f"no module {words[1]}"]
    said = "\n".join(path.read_text("utf-8") for path in place.parent.glob("*.py"))
    return [
        f"{words[1]} has no {word}" for word in words if word.startswith("--") and f'"{word}"' not in said
    ]


LOOKS: dict[str, Callable[[list[str]], list[str]]] = {
    "make": _make,
    "voicegraph": _voicegraph,
    "docker": _docker,
    "python": _python,
    ".venv/bin/python": _python,
}
