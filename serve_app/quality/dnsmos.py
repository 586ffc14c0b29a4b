"""How clean speech sounds: DNSMOS (P.835 overall, P.808), the networks of the package speechmos (MIT).

A no-reference score made for telephone noise: it notices hiss, buzz and cuts, and says little about naturalness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from serve_app.quality.packages import open_network
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave
from serve_app.quality.spectrum import mel_power

HEARD_SAMPLES = int(9.01 * MEASURE_RATE_HZ)
# From the overall output of the network to the scale of listeners (ITU-T P.835).
TO_SCALE = (-0.06766283, 1.11546468, 0.04602535)
P808_BANDS, P808_WINDOW, P808_HOP = 120, 321, 160
P808_DYNAMIC_DB = 80.0


class Dnsmos:
    def __init__(self) -> None:
        """EvalError where a file of the networks is missing or damaged."""
        self._overall, self._p808 = (
            open_network("speechmos", f"dnsmos_models/{name}.onnx") for name in ("sig_bak_ovr", "model_v8")
        )

    def score(self, wave: Wave) -> tuple[float, float]:
        """Overall and P.808, 1 to 5, of (n,) at 16 kHz; speech shorter than 9 s is repeated until it is long enough."""
        while len(wave) < HEARD_SAMPLES:
            wave = np.concatenate([wave, wave])
        seconds = len(wave) // MEASURE_RATE_HZ
        starts = [second * MEASURE_RATE_HZ for second in range(max(1, seconds - 9))]
        # One window at a time: a batch of ten takes no less time, and more than a gigabyte.
        scores = [self._score(wave[start : start + HEARD_SAMPLES].astype(np.float32)) for start in starts]
        overall, p808 = np.mean(scores, axis=0)
        return float(overall), float(p808)

    def _score(self, heard: Wave) -> tuple[float, float]:
        raw = self._overall.run(None, {"input_1": heard[None]})[0][0, 2]
        p808 = self._p808.run(None, {"input_1": _p808_input(heard)[None]})[0][0, 0]
        return float(np.polyval(TO_SCALE, float(raw))), float(p808)


def _p808_input(heard: Wave) -> NDArray[np.float32]:
    """(900, 120): decibels below the loudest point, scaled."""
    power = mel_power(heard[:-P808_HOP], bands=P808_BANDS, window=P808_WINDOW, hop=P808_HOP)
    level_db = 10 * np.log10(np.maximum(power, 1e-10) / max(float(power.max()), 1e-10))
    scaled: NDArray[np.float32] = ((np.maximum(level_db, -P808_DYNAMIC_DB) + 40) / 40).astype(np.float32)
    return scaled
