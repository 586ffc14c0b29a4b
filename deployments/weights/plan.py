"""What a pull would fetch, said before it begins: which files, how many bytes, under which licence, to where."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.core.errors import CheckpointError
from deployments.weights.fetch import Fetcher
from deployments.weights.pull import SCRATCH_NAME
from deployments.weights.registry import MODELS_VARIABLE, model_directory, model_source
from deployments.weights.sources import ModelFile, ModelSource

RESERVE_BYTES = 500_000_000  # left free: logs, and what is unpacked on the way


@dataclass(frozen=True)
class PullPlan:
    """`size_bytes` of the files that are to come, None where an origin does not say; `begun_bytes` are here of them."""

    name: str
    licence: str
    directory: Path
    files: tuple[str, ...]
    size_bytes: int | None
    begun_bytes: int
    free_bytes: int

    def disk_problem(self) -> str | None:
        """Why the files do not fit, and what to do; None where they do or nobody knows."""
        if self.size_bytes is None or self.size_bytes - self.begun_bytes + RESERVE_BYTES <= self.free_bytes:
            return None
        return (
            f"{self.name} needs {gigabytes(self.size_bytes - self.begun_bytes)} and {gigabytes(RESERVE_BYTES)} to "
            f"spare in {self.directory}, where {gigabytes(self.free_bytes)} are free; make room, or name another "
            f"folder with {MODELS_VARIABLE}"
        )


def plan_pull(
    name: str,
    fetchers: Sequence[Fetcher],
    root: Path | None = None,
    *,
    known: Mapping[str, ModelSource] | None = None,
) -> PullPlan:
    """Raises CheckpointError for a name that the registry does not have."""
    source = model_source(name, known)
    directory = model_directory(name, root)
    lacking = [file for file in source.files if not file.exists_in(directory)]
    sizes = [_size_bytes(file, fetchers) for file in lacking]
    scratch = directory / SCRATCH_NAME
    begun = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
    return PullPlan(
        name,
        source.licence,
        directory,
        tuple(file.target for file in lacking),
        None if None in sizes else sum(size or 0 for size in sizes),
        begun,
        shutil.disk_usage(next(p for p in (directory, *directory.parents) if p.exists())).free,
    )


def _size_bytes(file: ModelFile, fetchers: Sequence[Fetcher]) -> int | None:
    if file.json_sha256 is not None:
        return 0  # some kilobytes, and not the same number in every origin
    if file.size is not None:
        return file.size
    for origin in (origin for choice in file.choices for origin in choice.origins):
        for fetcher in fetchers:
            if not fetcher.accepts(origin) or fetcher.unavailable():
                continue
            try:
                size = fetcher.size_bytes(origin)
            except CheckpointError:  # the pull says it, if no other origin helps
                continue
            if size is not None:
                return size
    return None


def gigabytes(size_bytes: int) -> str:
    """For people: 8.9 GB, 120 MB, 40 kB."""
    if size_bytes >= 1e9:
        return f"{size_bytes / 1e9:.1f} GB"
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"
