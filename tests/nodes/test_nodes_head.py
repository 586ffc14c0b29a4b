"""A cluster whose state lies in a real Redis loses its head: nobody hears it, and the next head finds everything."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.slow]


def test_a_head_that_dies_is_not_heard_and_the_next_one_finds_everything(tmp_path: Path) -> None:
    if not shutil.which("redis-server"):
        pytest.fail("Redis is missing; as root `make setup-dev` installs it (Debian: redis-server)")
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", "benchmarks.scaling.head_loss", "--output", str(output)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=270)
    assert done.returncode == 0, done.stderr
    found = json.loads(output.read_text("utf-8"))
    assert found["whole"] == found["streams"]
    assert found["answered_without_head"] == found["asked_without_head"] > 2
    assert found["known_again_s"] < 60
    assert found["replaced_s"] < 30
