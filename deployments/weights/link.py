"""Files that the user has already, as a model's directory: a link to each, and nothing written beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deployments.core.errors import CheckpointError
from deployments.weights.pull import problem_of
from deployments.weights.registry import model_directory, model_source
from deployments.weights.sources import HubFile, ModelFile

POINTER = b"version https://git-lfs"  # what a clone holds instead of a large file where Git LFS is missing
INNER = ("", "checkpoints")  # of a repository that was cloned whole
CACHES = ("", "hf_cache")


@dataclass(frozen=True)
class Linked:
    """`files` are linked now, `missing` are required and were not found: a pull fetches them."""

    directory: Path
    files: tuple[str, ...]
    missing: tuple[str, ...]


def link(name: str, folder: Path, root: Path | None = None) -> Linked:
    """Make `root/name` of the files in `folder`, as they lie in the model's own repository, in ours, or in a cache of
    the hub's client below it.

    Files that are in the directory already stay. Raises CheckpointError if there is none of the model's files, or one
    is not what it should be.
    """
    source = model_source(name)
    folder = folder.expanduser().resolve()
    directory = model_directory(name, root)
    lacking = [file for file in source.files if not file.exists_in(directory)]
    found = [each for file in lacking if (each := _find(file, folder)) is not None]
    if not found and source.missing(directory):
        wanted = ", ".join(source.missing(directory)[:3])
        raise CheckpointError(f"{folder} holds none of the files that {name} lacks ({wanted}, …)")
    for file, path in found:
        _check(file, path)
    for file, path in found:
        place = directory / file.target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)  # a link whose file is gone
        place.symlink_to(path)
    return Linked(directory, tuple(file.target for file, _ in found), tuple(source.missing(directory)))


def _find(wanted: ModelFile, folder: Path) -> tuple[ModelFile, Path] | None:
    """The best of a file's choices that is there."""
    for file in wanted.choices:
        kind = Path.is_dir if file.is_folder else Path.is_file
        for path in _places(file, folder):
            if kind(path):
                return file, path
    return None


def _places(file: ModelFile, folder: Path) -> Iterator[Path]:
    for inner in INNER:
        yield folder / inner / file.target
        for origin in file.origins:
            if not isinstance(origin, HubFile):
                continue
            owner, _, repo = origin.repo.partition("/")
            for cache in CACHES:
                snapshots = folder / inner / cache / f"models--{owner}--{repo}" / "snapshots"
                yield from (commit / origin.path for commit in sorted(snapshots.glob("*")))
                yield folder / inner / cache / repo / origin.path


def _check(file: ModelFile, path: Path) -> None:
    if file.is_folder:
        return
    with path.open("rb") as content:
        if content.read(len(POINTER)) == POINTER:
            raise CheckpointError(f"{path} is a pointer of Git LFS, not the file; run `git lfs pull` there")
    if problem := problem_of(file, path):
        raise CheckpointError(f"{path}: {problem}")
