from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deployments.core.errors import CheckpointError
from deployments.weights.tensors import load_strict, read_tensors


@pytest.fixture
def network() -> torch.nn.Linear:
    return torch.nn.Linear(3, 2)


def test_half_precision_files_compute_in_float32(network: torch.nn.Linear) -> None:
    stored = {name: value.detach().half() for name, value in network.state_dict().items()}
    load_strict(network, stored, source="half")
    assert network.weight.dtype == torch.float32


def test_nothing_is_copied(network: torch.nn.Linear) -> None:
    own = {name: value.clone() for name, value in network.state_dict().items()}
    load_strict(network, own, source="single")
    assert network.weight.data_ptr() == own["weight"].data_ptr()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weight": None}, "1 tensors missing: weight"),
        ({"other": torch.zeros(1)}, "1 tensors not part of the model: other"),
        ({"weight": torch.zeros(2, 4)}, r"weight \(2, 4\) instead of \(2, 3\)"),
    ],
)
def test_every_mismatch_names_its_tensor(network: torch.nn.Linear, change: dict, told: str) -> None:
    tensors = {**network.state_dict(), **change}
    given = {name: value for name, value in tensors.items() if value is not None}
    with pytest.raises(CheckpointError, match=told):
        load_strict(network, given, source="file.pth")


def test_a_file_that_is_no_checkpoint_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "gpt.pth"
    path.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"gpt\.pth"):
        read_tensors(path)
