"""How a message spells our commands, so that who reads it can type them as they stand."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

NAME = "voicegraph"
REPOSITORY = Path(__file__).resolve().parents[2]


def voicegraph(arguments: str) -> str:
    """`voicegraph …`, with the path of the script where the shell would not find it, or would find another."""
    script = Path(sys.executable).parent / NAME
    found = shutil.which(NAME)
    if not script.is_file() or (found is not None and os.path.samefile(found, script)):
        return f"{NAME} {arguments}"
    near = os.path.relpath(script)
    return f"{script if near.startswith('..') else near} {arguments}"


def start() -> str:
    """The command that starts a server: of the clone that this is, or of the installed package."""
    return "make serve" if is_clone() else voicegraph("serve")


def is_clone() -> bool:
    """Whether we run from the repository, with its Makefile, and not from an installed package."""
    return (REPOSITORY / "Makefile").is_file()
