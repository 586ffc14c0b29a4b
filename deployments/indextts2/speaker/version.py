"""What a profile depends on beside the recording: the weights, their configuration, and this stage's own code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from deployments.indextts2.checkpoint import FOLDER_FILES, STAGE_FILES, IndexTTSCheckpoint
from deployments.weights.manifest import MANIFEST_NAME, ManifestEntry, read_manifest

# To be raised when a change of code changes the arrays: profiles that are stored are then made again.
CODE_VERSION = 1


def profile_version(checkpoint: IndexTTSCheckpoint, dtype: str) -> str:
    """Version of the profiles that this checkpoint gives, 16 hex digits.

    It must be cheap at every start, so no weights are read: a file counts by the digest that the manifest of
    `voicegraph models pull` records for it, as long as the file is as large as recorded and not newer than the
    manifest; and by name, size and time of change otherwise. Without a manifest, replicas on machines whose files
    differ in time therefore do not share profiles; each encodes its own.
    """
    manifest = read_manifest(checkpoint.directory)
    files = dict(_identity(path, checkpoint.directory, manifest) for path in _files(checkpoint))
    content = json.dumps([CODE_VERSION, dtype, checkpoint.config, files], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _files(checkpoint: IndexTTSCheckpoint) -> Iterator[Path]:
    for file in STAGE_FILES["speaker_encoder"]:
        path = checkpoint.path(file)
        yield from (path / name for name in FOLDER_FILES[file]) if file in FOLDER_FILES else (path,)


def _identity(path: Path, directory: Path, manifest: Mapping[str, ManifestEntry]) -> tuple[str, str]:
    name = path.relative_to(directory).as_posix()
    state = path.stat()
    entry = manifest.get(name)
    if (
        entry
        and entry.size == state.st_size
        and state.st_mtime <= (directory / MANIFEST_NAME).stat().st_mtime
    ):
        return name, entry.sha256
    return name, f"{state.st_size} bytes, changed {state.st_mtime_ns}"
