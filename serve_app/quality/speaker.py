"""Who speaks: Resemblyzer's embedding (Apache-2.0). The network is small; only the weights come from the package."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from serve_app.quality.packages import weights_of
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave
from serve_app.quality.spectrum import mel_power

BANDS, WIDTH, LAYERS = 40, 256, 3
WINDOW, HOP = 400, 160
WINDOW_FRAMES = 160  # 1.6 s are heard at a time
STEP_FRAMES = round(MEASURE_RATE_HZ / 1.3 / HOP)
LEAST_COVERED = 0.75  # a last window with less sound in it does not count
QUIETEST_DBFS = -30.0  # the network hears loudness: softer speech is raised to this


class SpeakerEncoder:
    """`embed` gives (256,) of length 1; the product of two is the similarity of the voices, 0 to 1."""

    def __init__(self) -> None:
        """EvalError where the file of the network is missing or damaged."""
        stored = weights_of("resemblyzer", "pretrained.pt")
        weights = torch.load(stored, map_location="cpu", weights_only=True)["model_state"]
        self._lstm = nn.LSTM(BANDS, WIDTH, LAYERS, batch_first=True)
        self._linear = nn.Linear(WIDTH, WIDTH)
        self._lstm.load_state_dict(_below(weights, "lstm."))
        self._linear.load_state_dict(_below(weights, "linear."))

    @torch.inference_mode()
    def embed(self, wave: Wave) -> NDArray[np.float32]:
        """Of (n,) at 16 kHz: the mean over windows of 1.6 s, the last filled up with silence."""
        starts = _window_starts(len(wave))
        needed = (starts[-1] + WINDOW_FRAMES) * HOP
        mel = mel_power(
            np.pad(_raised(wave), (0, max(0, needed - len(wave)))), bands=BANDS, window=WINDOW, hop=HOP
        )
        windows = torch.from_numpy(np.stack([mel[start : start + WINDOW_FRAMES] for start in starts]))
        _, (hidden, _) = self._lstm(windows)
        mean = F.normalize(F.relu(self._linear(hidden[-1])), dim=1).mean(0)
        embedding: NDArray[np.float32] = F.normalize(mean, dim=0).numpy()
        return embedding


def _below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def _raised(wave: Wave) -> Wave:
    loudness_dbfs = 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) + 1e-12)
    missing_db = max(0.0, QUIETEST_DBFS - loudness_dbfs)
    return (wave * 10 ** (missing_db / 20)).astype(np.float32)


def _window_starts(samples: int) -> list[int]:
    frames = -(-(samples + 1) // HOP)
    starts = list(range(0, max(1, frames - WINDOW_FRAMES + STEP_FRAMES + 1), STEP_FRAMES))
    covered = (samples - starts[-1] * HOP) / (WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < LEAST_COVERED and len(starts) > 1 else starts
