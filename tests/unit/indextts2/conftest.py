"""The simulator as a module (`benchmarks` is scripts), and recordings to clone from."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "chunk_simulator.py"


@pytest.fixture(scope="session")
def simulator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_chunk_simulator", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def recording() -> Callable[[int], bytes]:
    """recording(pitch_hz): 4 s of wav."""

    def make(pitch_hz: int) -> bytes:
        time_s = np.arange(4 * 16_000) / 16_000
        wave = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time_s))
        file = io.BytesIO()
        soundfile.write(file, wave, 16_000, format="WAV")
        return file.getvalue()

    return make
