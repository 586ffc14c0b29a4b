"""Optional conversion of a directory's pickles to safetensors, which start faster and cannot hold code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.weights.registry import PICKLES, conversion_of
from deployments.weights.tensors import read_tensors


def convert(directory: Path) -> list[Path]:
    """Write `X.safetensors` beside each pickle of named tensors below `directory`; gives the files written.

    Checkpoints prefer such a file as long as the pickle is not newer. Values and types stay as they are; each file is
    compared with its pickle before it takes its place. What is converted already, and pickles that hold a single
    tensor without a name, are passed over.
    """
    pickles = sorted(path for path in directory.rglob("*") if path.suffix in PICKLES and path.is_file())
    return [
        convert_file(path) for path in pickles if conversion_of(path) is None and "" not in read_tensors(path)
    ]


def convert_file(pickle: Path) -> Path:
    """Raises CheckpointError if the written file does not hold the same tensors as the pickle."""
    target = pickle.with_suffix(".safetensors")
    partial = target.with_name(f".{target.name}.partial.safetensors")
    save_file(_unshared(read_tensors(pickle)), partial, metadata={"format": "pt"})
    if not _same(partial, pickle):
        partial.unlink()
        raise CheckpointError(f"{partial}: differs from {pickle} after writing; is the disk sound?")
    os.replace(partial, target)
    return target


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """safetensors refuses tensors that share memory; those are copied, the others stay memory-mapped."""
    seen: set[int] = set()
    unshared = {}
    for name, value in tensors.items():
        packed = value.contiguous()
        memory = packed.untyped_storage().data_ptr()
        unshared[name] = packed.clone() if memory in seen else packed
        seen.add(memory)
    return unshared


def _same(converted: Path, pickle: Path) -> bool:
    read = read_tensors(converted)
    original = read_tensors(pickle)
    return read.keys() == original.keys() and all(
        value.dtype == original[name].dtype and torch.equal(value, original[name])
        for name, value in read.items()
    )
