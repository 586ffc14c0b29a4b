"""VoxCPM directories of a megabyte with random weights, which run the whole graph: reference in, wave out.

The golden checkpoints, with rows long enough for recordings of seconds (their patches last only milliseconds) and a
voice with its transcript. As a script: `python tests/tiny_voxcpm.py [TARGET]`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile

from deployments.weights.registry import model_directory

NAME = "voxcpm-tiny"
STOCK_VOICE = "tiny"
TRANSCRIPT = "the voice engine test."
MAX_LENGTH = 4096
VOICE_RATE_HZ = 16_000


def make_tiny_checkpoint(target: Path, golden: Path, version: str = "v2") -> Path:
    """Write the directory `target` from `golden/voxcpm/<version>`, v15 or v2; the same bytes each time."""
    model = golden / "voxcpm" / version / "model"
    shutil.copytree(model, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    config = json.loads((model / "config.json").read_text("utf-8"))
    (target / "config.json").write_text(json.dumps({**config, "max_length": MAX_LENGTH}, indent=1), "utf-8")
    voices = target / "voices"
    voices.mkdir(exist_ok=True)
    soundfile.write(voices / f"{STOCK_VOICE}.wav", made_up_speech(120.0), VOICE_RATE_HZ)
    (voices / f"{STOCK_VOICE}.txt").write_text(TRANSCRIPT, "utf-8")
    return target


def made_up_speech(pitch_hz: float, duration_s: float = 1.2) -> np.ndarray:
    """What passes for a recording: a buzz that swells and falls."""
    time_s = np.arange(round(duration_s * VOICE_RATE_HZ)) / VOICE_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * n * pitch_hz * time_s) / n for n in range(1, 8))
    return (0.2 * buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_s))).astype(np.float32)


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else model_directory(NAME)
    print(make_tiny_checkpoint(place, Path(__file__).parent / "golden"))
