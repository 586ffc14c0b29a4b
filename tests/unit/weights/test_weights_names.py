"""Which tensors a file names, without reading it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from deployments.weights.names import holds_tensor


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_pickles(tmp_path: Path, wrapped: bool, legacy: bool) -> None:
    tensors = {"a.weight": torch.zeros(2), "b": torch.zeros(1)}
    path = tmp_path / "x.pth"
    torch.save(
        {"model": tensors, "step": 1} if wrapped else tensors, path, _use_new_zipfile_serialization=not legacy
    )
    assert holds_tensor(path, "a.weight")
    assert not holds_tensor(path, "c.weight")


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"model.a.weight": torch.zeros(2)}, path)
    assert holds_tensor(path, "a.weight")
    assert not holds_tensor(path, "weight.a")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", b"\xff" * 20])
def test_a_file_that_cannot_be_read_holds_nothing(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert not holds_tensor(tmp_path / name, "a")
    assert not holds_tensor(tmp_path / "none.pth", "a")
