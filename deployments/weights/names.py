"""Which tensors a file of weights names: without torch, and without reading the weights."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

LEGACY_HEAD = 8 << 20  # bytes in which a pickle that is no zip archive has named all its tensors


def holds_tensor(path: Path, name: str) -> bool:
    """Whether a `.safetensors` file or a pickled, possibly nested, state dict has a tensor of this name.

    Nothing is unpickled, so that asking is safe and takes milliseconds. False for a file that cannot be read: whoever
    loads it says why.
    """
    try:
        if path.suffix == ".safetensors":
            return any(key == name or key.endswith(f".{name}") for key in _header(path))
        return name.encode() in _pickle(path)
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _header(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("not a safetensors file")
        header: dict[str, object] = json.loads(file.read(length))
    return header


def _pickle(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return file.read(LEGACY_HEAD)
    with zipfile.ZipFile(path) as archive:
        inner = [each for each in archive.namelist() if each.endswith("data.pkl")]
        return archive.read(inner[0]) if inner else b""
