"""On what a figure was measured: processor, versions, GPU, commit. Of the machine that runs the client."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent


@dataclass(frozen=True)
class Machine:
    """`cores` are those this process may use; versions and names that cannot be told are None."""

    cpu: str
    cores: int
    os: str
    python: str
    torch: str | None
    ray: str | None
    gpu: str | None


def describe_machine() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        os=platform.platform(),
        python=platform.python_version(),
        torch=_version("torch"),
        ray=_version("ray"),
        gpu=_output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"),
    )


def git_commit() -> str | None:
    """Commit of the checkout this file is in, with `-dirty` if tracked files differ; None outside of one."""
    commit = _output("git", "-C", str(PACKAGE), "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changed = _output("git", "-C", str(PACKAGE), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str | None:
    # Not by importing: torch takes seconds to load, and its threads would stay.
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _output(program: str, *arguments: str) -> str | None:
    """What a program prints, on one line; None if it is missing, fails or prints nothing."""
    if shutil.which(program) is None:
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return ", ".join(done.stdout.split("\n")[:-1]) or None
