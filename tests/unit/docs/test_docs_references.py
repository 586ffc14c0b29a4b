"""Whatever a text names is in the repository: files, sections, modules, commands. No text speaks of anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

import pytest
from docs_repository import ROOT, Repository
from typer.main import get_command

from serve_app.cli import app

SPECS = "docs/specs"
# Data, and the licence, whose wording is not ours.
UNREAD = re.compile(r"\.(json|jsonl|svg|css)$|^LICENSE$|^constraints\.txt$")
PAGE = re.compile(r"(?<![\w./~$>}-])((?:\.\./)*(?:[\w-]+/)*[A-Za-z][\w.-]*\.md)\b(?![\w/*])")
SECTIONS = re.compile(r"(?:[ ,]|and |steps? \d+|[-–]|\d+(?:\.\d+)*[A-Z]?)*")
SECTION = re.compile(r"(?<!step )(?<!steps )\b\d+(?:\.\d+)*[A-Z]?")
HEADING = re.compile(r"^#{1,6} (\d+(?:\.\d+)*[A-Z]?)[. ]", re.MULTILINE)
PLACES = (
    "docs",
    "specs",
    "guides",
    "deployments",
    "serve_app",
    "training",
    "benchmarks",
    "tests",
    "configs",
    "k8s",
    "docker",
)
PLACE = re.compile(rf"(?<![\w./~$>}}-])((?:{'|'.join(PLACES)})/[\w./-]*\w)(?!\w|:\d|/?[-_.]?[<{{*…%(])")
SPEC_DATA = re.compile(r"(?<![\w./-])(indextts2-[\w-]+\.(?:json|yaml))\b")
MODULE = re.compile(r"\bpython3? (?:-\w )*-m ((?:benchmarks|training|serve_app|deployments|tests)\b[\w.]*\w)")
TARGET = re.compile(
    r"`(?:[A-Z]+=\S+ )*make ([a-z0-9-]+)|^(?: {4})?make ([a-z0-9-]+) *(?:#.*)?$", re.MULTILINE
)
COMMAND = re.compile(r"(?:`|^ {4}|^)voicegraph ([a-z]+)(?: ([a-z]+)\b(?!:))?", re.MULTILINE)
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)")
# Of Python only what is written for people: strings may be addresses or names inside a checkpoint.
WRITTEN = re.compile(r'"""(.*?)"""|(#[^\n]*)', re.DOTALL)
STRANGE = {
    "a folder outside the repository": re.compile(r"/work/|(?<![\w-])shared/"),
    "a machine that the reader does not have": re.compile(
        r"\$\{?OUT\b|environ\W+(?:get\W+)?OUT\b|`carry`|\blent\b"
    ),
    "an issue, which the reader cannot look up": re.compile(
        r"\b(?:the|this|that|an|these|of) issues?\b|\bissues?,? #?\d+|\bissue and\b|(?<![\w&'\"/])#\d+\b",
        re.IGNORECASE,
    ),
}
THIS = "tests/unit/docs/test_docs_references.py"


def read_texts(repository: Repository) -> Iterator[tuple[str, str]]:
    for path, text in repository.texts.items():
        if path != THIS and not UNREAD.search(path):
            yield path, text


def beside(path: str, name: str) -> str:
    """`name` as seen from the folder of `path`."""
    parts: list[str] = []
    for part in (PurePosixPath(path).parent / name).parts:
        if part == "..":
            if not parts:
                return name
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def page(repository: Repository, path: str, name: str) -> str | None:
    """The page that a text in `path` calls `name`: with its path, beside the text, or, by its name alone, in docs."""
    places = [name, beside(path, name)]
    if "/" not in name:
        places += [f"docs/{name}", f"{SPECS}/{name}"]
    return next((place for place in places if place in repository.paths), None)


def missing_pages(repository: Repository) -> list[str]:
    """Pages and sections of pages that are named and not there."""
    found = []
    for path, text in read_texts(repository):
        for named in PAGE.finditer(text):
            target = page(repository, path, named[1])
            if target is None:
                found.append(f"{path}: {named[1]}")
                continue
            headings = set(HEADING.findall(repository.texts[target]))
            if not headings:
                continue
            after = SECTIONS.match(text, named.end())
            asked = SECTION.findall(after[0]) if after else []
            found += [f"{path}: {target} {section}" for section in asked if section not in headings]
    return found


def missing_places(repository: Repository) -> list[str]:
    """Files and folders that are named by their path and not there."""
    found = []
    for path, text in read_texts(repository):
        written = "\n".join(map("".join, WRITTEN.findall(text))) if path.endswith(".py") else text
        for pattern in (PLACE, SPEC_DATA):
            found += [
                f"{path}: {name}"
                for name in pattern.findall(written)
                if not (repository.has(name) or repository.has(beside(path, name)))
            ]
    return found


def missing_modules(repository: Repository) -> list[str]:
    found = []
    for path, text in read_texts(repository):
        for name in MODULE.findall(text):
            place = name.replace(".", "/")
            if not (repository.has(f"{place}.py") or repository.has(f"{place}/__main__.py")):
                found.append(f"{path}: python -m {name}")
    return found


def missing_targets(repository: Repository) -> list[str]:
    targets = set(re.findall(r"^([a-z0-9-]+):", repository.texts["Makefile"], re.MULTILINE))
    found = []
    for path, text in read_texts(repository):
        if path.endswith(".md"):
            named = ("".join(groups) for groups in TARGET.findall(text))
            found += [f"{path}: make {target}" for target in named if target not in targets]
    return found


def missing_links(repository: Repository) -> list[str]:
    return [
        f"{path}: {target}"
        for path, text in read_texts(repository)
        if path.endswith(".md")
        for target in LINK.findall(text)
        if not repository.has(beside(path, target))
    ]


def missing_commands(repository: Repository) -> list[str]:
    """`voicegraph …` in pages."""
    known = subcommands(get_command(app))
    found = []
    for path, text in read_texts(repository):
        for name, sub in COMMAND.findall(text) if path.endswith(".md") else ():
            further = subcommands(known[name]) if name in known else {}
            if name not in known or (further and sub and sub not in further):
                found.append(f"{path}: voicegraph {name} {sub}".strip())
    return found


def subcommands(command: object) -> Mapping[str, object]:
    """Empty for a command without any. Typer's groups are click's in older releases and its own in newer ones."""
    found: Mapping[str, object] = getattr(command, "commands", {})
    return found


def strangers(repository: Repository) -> list[str]:
    """Places in texts that speak of what is not in the repository."""
    found = []
    for path, text in read_texts(repository):
        for what, pattern in STRANGE.items():
            for match in pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path}:{line}: {match[0]!r} ({what})")
    return found


@pytest.fixture(scope="module")
def repository() -> Repository:
    return Repository.read(ROOT)


def test_every_page_and_section_that_is_named_exists(repository: Repository) -> None:
    assert missing_pages(repository) == []


def test_every_place_that_is_named_exists(repository: Repository) -> None:
    assert missing_places(repository) == []


def test_every_module_that_is_run_exists(repository: Repository) -> None:
    assert missing_modules(repository) == []


def test_every_make_target_that_is_named_exists(repository: Repository) -> None:
    assert missing_targets(repository) == []


def test_every_link_leads_somewhere(repository: Repository) -> None:
    assert missing_links(repository) == []


def test_every_command_that_is_named_exists(repository: Repository) -> None:
    assert missing_commands(repository) == []


@pytest.mark.slow
def test_texts_speak_of_the_repository_alone(repository: Repository) -> None:
    assert strangers(repository) == []


@pytest.mark.parametrize(
    ("find", "text", "found"),
    [
        (
            missing_pages,
            "see spec.md 2.1, 7 and 9 and docs/none.md",
            ["docs/specs/spec.md 9", "docs/none.md"],
        ),
        (missing_pages, "(spec.md 7, step 3; 2.1-2.4)", []),
        (
            missing_places,
            "`deployments/there.py`, `deployments/gone.py`, `deployments/<family>/`",
            ["deployments/gone.py"],
        ),
        (missing_modules, "python -m deployments.gone", ["python -m deployments.gone"]),
        (missing_targets, "`make serve`, `make gone`", ["make gone"]),
        (missing_links, "[a](specs/spec.md) [b](gone.md)", ["gone.md"]),
        (missing_commands, "`voicegraph voices ls`, `voicegraph voices gone`", ["voicegraph voices gone"]),
        (
            strangers,
            "as in shared/x; issue 12; #34; `carry`; it may carry on, #fff",
            ["shared/", "`carry`", "issue 12", "#34"],
        ),
    ],
)
def test_what_is_missing_is_found(
    find: Callable[[Repository], list[str]], text: str, found: list[str]
) -> None:
    texts = {
        "docs/page.md": text,
        "docs/specs/spec.md": "# Spec\n\n## 2. Two\n\n### 2.1 One\n\n### 2.4 Four\n\n## 7. Seven\n",
        "deployments/there.py": "",
        "Makefile": "serve: setup\n",
    }
    told = find(Repository(frozenset(texts), texts))
    assert len(told) == len(found), told
    assert all(name in line for name, line in zip(found, told, strict=True)), told
