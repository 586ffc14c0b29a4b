"""A shard: some utterances in one .npz, ragged arrays stored back to back with their lengths."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import numpy as np

from training.nano.workspace import write_atomically

Row = dict[str, Any]


def save_shard(path: Path, rows: list[Row], *, compressed: bool = False) -> None:
    """Arrays are concatenated along axis 0 under their key; everything else goes to a JSON list."""
    arrays: dict[str, np.ndarray] = {}
    names = [key for key, value in rows[0].items() if isinstance(value, np.ndarray)]
    for name in names:
        arrays[name] = np.concatenate([row[name] for row in rows])
        arrays[f"{name}.lengths"] = np.array([len(row[name]) for row in rows], np.int64)
    plain = [{key: value for key, value in row.items() if key not in names} for row in rows]
    arrays["json"] = np.frombuffer(json.dumps(plain).encode(), np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            (np.savez_compressed if compressed else np.savez)(file, **arrays)  # type: ignore[arg-type]

    write_atomically(path, write)


def load_shard(path: Path, only: Container[str] | None = None) -> list[Row]:
    """Rows of a shard, with all arrays or with those named in `only`."""
    with np.load(path) as stored:
        rows: list[Row] = json.loads(stored["json"].tobytes())
        for key in stored.files:
            if f"{key}.lengths" not in stored.files or (only is not None and key not in only):
                continue
            lengths = stored[f"{key}.lengths"]
            pieces = np.split(stored[key], np.cumsum(lengths)[:-1])
            for row, piece in zip(rows, pieces, strict=True):
                row[key] = piece
    return rows


def load_shards(folder: Path, only: Container[str] | None = None) -> list[Row]:
    """Rows of all finished shards in order of their numbers, as of `load_shard`."""
    return [row for path in sorted(folder.glob("*.npz")) for row in load_shard(path, only)]


def make_missing(source: Path, target: Path, make: Callable[[Row], Row]) -> None:
    """Shards of `source` that `target` lacks, row by row."""
    make_missing_shards(source, target, lambda path: [make(row) for row in load_shard(path)])


def make_missing_shards(source: Path, target: Path, make: Callable[[Path], list[Row]]) -> None:
    """Shards of `source` that `target` lacks; `make` is given the path of the source's."""
    for path in sorted(source.glob("*.npz")):
        if not (target / path.name).exists():
            save_shard(target / path.name, make(path))
            print(f"{target.name} {path.stem}", flush=True)
