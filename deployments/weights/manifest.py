"""`voicegraph-manifest.json`: what lies in a model's directory, where it came from, and its digests."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from deployments.core.errors import CheckpointError

MANIFEST_NAME = "voicegraph-manifest.json"


@dataclass(frozen=True)
class ManifestEntry:
    """`source` and `revision` as given by the fetcher.

    `source` is `local` for files that were already there.
    """

    source: str
    revision: str
    size: int
    sha256: str


def read_manifest(directory: Path) -> dict[str, ManifestEntry]:
    """Entries by path relative to `directory`.

    Empty if there is no manifest. Raises CheckpointError if it is damaged.
    """
    path = directory / MANIFEST_NAME
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        return {name: ManifestEntry(**entry) for name, entry in content["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); remove it and pull the model again") from error


def write_manifest(directory: Path, model: str, entries: dict[str, ManifestEntry]) -> None:
    content = {"model": model, "files": {name: asdict(entries[name]) for name in sorted(entries)}}
    partial = directory / f".{MANIFEST_NAME}.partial"
    partial.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    os.replace(partial, directory / MANIFEST_NAME)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def json_sha256(path: Path) -> str | None:
    """Digest of the parsed content, whatever its white space and order of keys; None if it is not JSON."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError:
        return None
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
