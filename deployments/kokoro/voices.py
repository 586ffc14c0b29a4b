"""The fixed voices of Kokoro: their names say language and gender, their files hold one style row per input length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deployments.core.errors import CheckpointError
from deployments.kokoro.weights import VOICE_DIGESTS
from deployments.weights.registry import model_directory

STYLE_WIDTH = 256

# First letter of a voice name -> (ISO language, accent understood by the phonemizers).
LANGUAGES = {
    "a": ("en", "en-us"),
    "b": ("en", "en-gb"),
    "e": ("es", "es"),
    "f": ("fr", "fr-fr"),
    "h": ("hi", "hi"),
    "i": ("it", "it"),
    "p": ("pt", "pt-br"),
    "z": ("zh", "zh"),
}


@dataclass(frozen=True, slots=True)
class KokoroVoice:
    name: str
    language: str  # ISO 639-1
    accent: str
    gender: str
    path: Path

    def style(self, length: int) -> npt.NDArray[np.float32]:
        """Style row (1, 256) for an input of `length` phoneme ids, 1 or more: the first row is that of a single one."""
        table = _table(self.path)
        return table[min(length, len(table)) - 1][None]


@lru_cache(maxsize=128)
def _table(path: Path) -> npt.NDArray[np.float32]:
    return np.fromfile(path, dtype=np.float32).reshape(-1, STYLE_WIDTH)


def find_voices(directory: Path) -> dict[str, KokoroVoice]:
    """Voices found in `directory` whose language can be turned into phonemes, by name.

    Japanese voices (prefix `j`) are left out: no phonemizer for them installs from wheels alone.
    """
    voices = _voices(sorted(directory.glob("?[fm]_*.bin")))
    if not voices:
        raise CheckpointError(f"{directory}: no voices (*.bin) found; run: voicegraph models pull kokoro")
    return voices


def expected_voices(checkpoint: str) -> dict[str, KokoroVoice]:
    """Voices that a replica will find: those of this machine's files, or the published ones where it has none."""
    directory = model_directory(checkpoint) / "voices"
    if directory.is_dir():
        return find_voices(directory)
    return _voices([directory / f"{name}.bin" for name in VOICE_DIGESTS])


def _voices(files: Iterable[Path]) -> dict[str, KokoroVoice]:
    return {
        path.stem: KokoroVoice(
            path.stem, *LANGUAGES[path.stem[0]], "female" if path.stem[1] == "f" else "male", path
        )
        for path in files
        if path.stem[0] in LANGUAGES
    }
