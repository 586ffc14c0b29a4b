"""The S2Mel stage does not grow with the lengths it has met."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "benchmarks.s2mel_memory", "--calls", "60", "--output"]


@pytest.mark.slow
def test_memory_is_flat_after_the_first_calls(tmp_path: Path) -> None:
    """It grew by six megabytes a call, for as many lengths as there are."""
    output = tmp_path / "memory.json"
    subprocess.run([*COMMAND, str(output)], cwd=ROOT, check=True, timeout=600, env={**os.environ})
    first, *_, last = json.loads(output.read_text("utf-8"))["figures"]
    assert (first["calls"], last["calls"]) == (20, 60)
    assert last["mb"] < 1.03 * first["mb"]
