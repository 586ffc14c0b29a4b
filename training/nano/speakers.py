"""Synthetic speakers: Kokoro's English voices and convex mixtures of them (recipe.md 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPEAKER_SEED = 7
MIXTURES = 70
# A whispering and a laughing voice: they have no use as a target for cloning ordinary speech.
_EXCLUDED = {"af_nicole", "am_santa"}
HELD_OUT_VOICES = ("af_nova", "am_liam", "bf_lily")
HELD_OUT_MIXTURES = 7


@dataclass(frozen=True)
class Speaker:
    """`recipe` maps voice names to weights that sum to one."""

    name: str
    recipe: tuple[tuple[str, float], ...]
    held_out: bool


def speakers(voices: Path) -> list[Speaker]:
    """The full list, always in the same order for the same voice folder. Mixtures never cross the sexes."""
    names = [path.stem for path in sorted(voices.glob("[ab][fm]_*.bin")) if path.stem not in _EXCLUDED]
    pure = [Speaker(name, ((name, 1.0),), name in HELD_OUT_VOICES) for name in names]
    rng = np.random.default_rng(SPEAKER_SEED)
    mixed = []
    for index in range(MIXTURES):
        sex = "fm"[index % 2]
        pool = [name for name in names if name[1] == sex]
        parts = rng.choice(pool, size=int(rng.integers(2, 4)), replace=False)
        weights = rng.dirichlet([1.5] * len(parts))
        recipe = tuple((str(name), float(weight)) for name, weight in zip(parts, weights, strict=True))
        mixed.append(Speaker(f"mix_{sex}{index:03d}", recipe, index < HELD_OUT_MIXTURES))
    return pure + mixed


class VoiceBank:
    """Style rows (256,) of speakers; row number = count of input symbols."""

    def __init__(self, voices: Path) -> None:
        self._voices = voices
        self._cache: dict[str, np.ndarray] = {}

    def style(self, speaker: Speaker, symbols: int) -> np.ndarray:
        row = np.zeros(256, np.float32)
        for name, weight in speaker.recipe:
            row += np.float32(weight) * self._table(name)[symbols]
        return row

    def _table(self, name: str) -> np.ndarray:
        if name not in self._cache:
            self._cache[name] = np.fromfile(self._voices / f"{name}.bin", np.float32).reshape(-1, 256)
        return self._cache[name]
