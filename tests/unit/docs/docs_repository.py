"""The repository as text: which files it has, and what is written in them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[3]
MAX_BYTES = 1_000_000
HIDDEN = re.compile(r"(^|/)(\.(?!ci/)[^/]*|__pycache__|[^/]*\.egg-info|build|dist)(/|$)")


@dataclass(frozen=True)
class Repository:
    """`paths` are all files, relative to the root; `texts` are those that hold text."""

    paths: frozenset[str]
    texts: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> Repository:
        """What git tracks or would track below `root`; without git, all that is not hidden."""
        paths = [path for path in _listed(root) if (root / path).is_file()]
        texts = {path: text for path in paths if (text := _text(root / path)) is not None}
        return cls(frozenset(paths), texts)

    @cached_property
    def folders(self) -> frozenset[str]:
        return frozenset(str(parent) for path in self.paths for parent in PurePosixPath(path).parents)

    def has(self, path: str) -> bool:
        return path in self.paths or path in self.folders


def _listed(root: Path) -> list[str]:
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return sorted({name for name in done.stdout.split("\0") if name})
    relative = (path.relative_to(root).as_posix() for path in root.rglob("*"))
    return sorted(path for path in relative if not HIDDEN.search(path))


def _text(path: Path) -> str | None:
    """None where the file is not text, or too much of it to have been written."""
    if path.stat().st_size > MAX_BYTES:
        return None
    content = path.read_bytes()
    try:
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None
