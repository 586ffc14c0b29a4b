from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from serve_app.quality import recogniser

MARKER = "TEST_RECOGNISER_MARKER"


def dies_once(wave: np.ndarray) -> str:
    """As a worker that is killed for want of memory during its first call."""
    marker = Path(os.environ[MARKER])
    if not marker.exists():
        marker.touch()
        os._exit(1)
    return f"{len(wave)} samples"


def dies(wave: np.ndarray) -> str:
    os._exit(1)


def test_what_a_dead_worker_was_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MARKER, str(tmp_path / "died"))
    monkeypatch.setattr(recogniser, "PATIENCE_S", 8.0)
    monkeypatch.setattr(recogniser, "_transcribe", dies_once)
    assert recogniser.Recogniser().hear(np.zeros(7, np.float32)) == "7 samples"


def test_a_recogniser_that_cannot_live_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recogniser, "PATIENCE_S", 1.0)
    monkeypatch.setattr(recogniser, "_transcribe", dies)
    with pytest.raises(RuntimeError, match="memory"):
        recogniser.Recogniser().hear(np.zeros(7, np.float32))
