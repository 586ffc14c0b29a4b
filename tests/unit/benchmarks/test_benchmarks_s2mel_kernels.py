"""Number formats of S2Mel, on the small model of the repository; torch.compile takes minutes and is left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.s2mel_kernels import SERVED, main


@pytest.mark.slow
def test_formats_move_the_mel_less_than_half_the_steps_do(tmp_path: Path) -> None:
    formats = ["float32, nn.Linear", "bfloat16", "int8 linear layers"]
    main(steps=4, rounds=1, only=formats, output=tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found["variants"]) == [SERVED, *formats]
    assert found["variants"][SERVED]["distance"] == 0
    assert found["variants"]["float32, nn.Linear"]["distance"] < 1e-4
    fewer_steps = found["steps_distance"]["2"]
    assert all(0 < found["variants"][name]["distance"] < fewer_steps for name in formats[1:])
