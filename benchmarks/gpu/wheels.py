"""Fetch the few wheels that a lent GPU machine lacks, to be carried there (docs/gpu.md).

python -m benchmarks.gpu.wheels
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".whl"
NEEDED = (
    "cachetools",
    "pydantic",
    "pydantic-core",
    "annotated-types",
    "typing-inspection",
    "typing-extensions",
    "soxr",
)
THERE = "3.12"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014", "manylinux1")


def main() -> None:
    """Of the versions that are installed here."""
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    wanted = [f"{name}=={version(name)}" for name in NEEDED]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    where = ["--python-version", THERE, "--implementation", "cp", *platforms, "-d", str(FOLDER)]
    subprocess.run([*command, *where, *wanted], check=True)
    print("\n".join(sorted(path.name for path in FOLDER.glob("*.whl"))))


if __name__ == "__main__":
    main()
