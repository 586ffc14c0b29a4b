"""Getting a model's files: fetched to a scratch folder, checked, then each moved to its place in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from deployments.core.command_line import voicegraph
from deployments.core.errors import CheckpointError
from deployments.weights.fetch import Fetched, Fetcher, Received, default_fetchers
from deployments.weights.manifest import (
    ManifestEntry,
    file_sha256,
    json_sha256,
    read_manifest,
    write_manifest,
)
from deployments.weights.registry import model_directory, model_source
from deployments.weights.sources import ModelFile, ModelSource, Origin

SCRATCH_NAME = ".voicegraph-partial"


@dataclass(frozen=True)
class PullProgress:
    """Sent before and after each file, and while it comes: `files_done` counts whole files, `total` is their number,
    `bytes_done` what has come in this pull and what an earlier one had begun."""

    file: str
    files_done: int
    total: int
    bytes_done: int = 0


Progress = Callable[[PullProgress], None]


def pull(
    name: str,
    root: Path | None = None,
    progress: Progress | None = None,
    *,
    fetchers: Sequence[Fetcher] | None = None,
    known: Mapping[str, ModelSource] | None = None,
) -> Path:
    """Fetch what is missing of model `name` into `root/name`, check it and record it in the manifest.

    Files already there are kept if they are what the registry or the manifest says, and replaced otherwise.
    A second pull does nothing; an interrupted one resumes. Returns the directory. Raises CheckpointError if
    a file cannot be had from any of its origins or is not what its sha256 promises.
    """
    source = model_source(name, known)
    directory = model_directory(name, root)
    directory.mkdir(parents=True, exist_ok=True)
    scratch = directory / SCRATCH_NAME
    ledger = _Ledger(len(source.files), progress or (lambda _: None))
    # Two pulls of one model would share the scratch folder.
    with FileLock(directory / ".voicegraph-pull.lock"):
        entries = read_manifest(directory)
        using = default_fetchers() if fetchers is None else fetchers
        for wanted in source.files:
            file = wanted.found_in(directory) or wanted
            ledger.begin(file.target)
            if not _is_recorded(file, directory, entries):
                entries |= _adopt(file, directory) or _fetch(file, directory, scratch, using, ledger.received)
                # After each file, so that an interruption loses at most the file it interrupted.
                write_manifest(directory, name, entries)
            ledger.files_done += 1
        ledger.begin("")
        shutil.rmtree(scratch, ignore_errors=True)
    return directory


class _Ledger:
    """How far a pull is, and who wants to know it."""

    def __init__(self, files: int, tell: Progress) -> None:
        self._files, self._tell = files, tell
        self._file, self._bytes_done = "", 0
        self.files_done = 0

    def begin(self, file: str) -> None:
        self._file = file
        self._tell(PullProgress(file, self.files_done, self._files, self._bytes_done))

    def received(self, count: int) -> None:
        self._bytes_done += count
        self._tell(PullProgress(self._file, self.files_done, self._files, self._bytes_done))


def _is_recorded(file: ModelFile, directory: Path, entries: Mapping[str, ManifestEntry]) -> bool:
    names = [n for n in entries if n.startswith(file.target)] if file.is_folder else [file.target]
    return bool(names) and all(
        name in entries
        and (directory / name).is_file()
        and (directory / name).stat().st_size == entries[name].size
        and (file.sha256 is None or entries[name].sha256.startswith(file.sha256))
        for name in names
    )


def _adopt(file: ModelFile, directory: Path) -> dict[str, ManifestEntry] | None:
    """Entries for a file that is there without being in the manifest.

    None if it is not, or not the right one.
    """
    if not file.exists_in(directory) or (not file.is_folder and problem_of(file, directory / file.target)):
        return None
    return {name: _entry(directory / name, "local", "") for name in _names(file, directory)}


def _fetch(
    file: ModelFile, directory: Path, scratch: Path, fetchers: Sequence[Fetcher], received: Received
) -> dict[str, ManifestEntry]:
    refusals = []
    for choice, origin in [(each, origin) for each in file.choices for origin in each.origins]:
        fetcher = next((f for f in fetchers if f.accepts(origin)), None)
        if fetcher is None:
            refusals.append(f"{origin}: no way to fetch it")
        elif reason := fetcher.unavailable():
            refusals.append(reason)
        else:
            try:
                return _install(choice, origin, fetcher.fetch(origin, scratch, received), directory)
            except CheckpointError as error:
                refusals.append(str(error))
    reasons = "; ".join(dict.fromkeys(refusals))
    link = voicegraph(f"models link {directory.name} FOLDER")
    raise CheckpointError(
        f"{directory.name}: {file.target} cannot be pulled. {reasons}. "
        f"A pull goes on where it stopped; HF_ENDPOINT names a mirror, and files that you have are used after `{link}`"
    )


def _install(file: ModelFile, origin: Origin, fetched: Fetched, directory: Path) -> dict[str, ManifestEntry]:
    if not file.is_folder and (problem := problem_of(file, fetched.path)):
        fetched.path.unlink(missing_ok=True)  # else the next pull would resume from it
        raise CheckpointError(f"{origin}: {problem}")
    target = directory / file.target
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()  # what it leads to is the user's own
    elif file.is_folder and target.is_dir():
        shutil.rmtree(target)
    os.replace(fetched.path, target)
    return {name: _entry(directory / name, str(origin), fetched.revision) for name in _names(file, directory)}


def problem_of(file: ModelFile, path: Path) -> str | None:
    """What differs between `path` and what the registry says of it, or None.

    Reads the whole file if it has a digest.
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"{size} bytes instead of {file.size}"
    if file.sha256 is not None and not (found := file_sha256(path)).startswith(file.sha256):
        return f"sha256 is {found} instead of {file.sha256}"
    if file.json_sha256 is not None:
        found_json = json_sha256(path)
        if found_json is None:
            return "is not JSON"
        if found_json != file.json_sha256:
            return f"sha256 of the JSON content is {found_json} instead of {file.json_sha256}"
    return None


def _names(file: ModelFile, directory: Path) -> Iterator[str]:
    if not file.is_folder:
        yield file.target
        return
    for path in sorted((directory / file.target).rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix()


def _entry(path: Path, source: str, revision: str) -> ManifestEntry:
    return ManifestEntry(source, revision, path.stat().st_size, file_sha256(path))
