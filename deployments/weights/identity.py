"""What tells one set of weight files from another, without reading them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from deployments.weights.manifest import MANIFEST_NAME, ManifestEntry, read_manifest


def identities(paths: Iterable[Path], directory: Path) -> dict[str, str]:
    """By name below `directory`: the digest that the manifest of `voicegraph models pull` records for a file, as long
    as the file is as large as recorded and not newer than the manifest; size and time of change otherwise.

    Without a manifest, replicas on machines whose files differ in time therefore do not agree.
    """
    manifest = read_manifest(directory)
    return dict(_identity(path, directory, manifest) for path in paths)


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
