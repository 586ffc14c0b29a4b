"""Measuring speech: words (moonshine-base), speaker (Resemblyzer), quality (DNSMOS). See guides/assets.md."""

from __future__ import annotations

import re
from pathlib import Path

import jiwer
import numpy as np
import soxr
import tokenizers
from moonshine_onnx import ASSETS_DIR, MoonshineOnnxModel
from resemblyzer import VoiceEncoder
from speechmos import dnsmos

from training.nano.config import SAMPLE_RATE_HZ

ASR_RATE_HZ = 16_000
_DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
_NUMBERS = {str(value): word for value, word in enumerate(_DIGITS)}


def plain_words(text: str) -> str:
    """Lower case, letters, digits as words; what is compared."""
    words = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).replace("'", "").split()
    return " ".join(_NUMBERS.get(word, word) for word in words)


def at_16k(wave: np.ndarray) -> np.ndarray:
    """22 050 Hz float to 16 kHz float32 within +-1."""
    return np.clip(soxr.resample(wave, SAMPLE_RATE_HZ, ASR_RATE_HZ, "HQ"), -1, 1).astype(np.float32)


class Listener:
    """All three measures; waves are float32 at 22 050 Hz."""

    def __init__(self, moonshine: Path) -> None:
        self._asr = MoonshineOnnxModel(models_dir=str(moonshine), model_name="base")
        self._tokenizer = tokenizers.Tokenizer.from_file(str(Path(ASSETS_DIR) / "tokenizer.json"))
        self._speakers = VoiceEncoder("cpu", verbose=False)

    def transcript(self, wave: np.ndarray) -> str:
        tokens = self._asr.generate(at_16k(wave)[None], max_len=int(len(wave) / SAMPLE_RATE_HZ * 7) + 8)
        return str(self._tokenizer.decode_batch(tokens)[0])

    def voice(self, wave: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._speakers.embed_utterance(at_16k(wave))
        return found

    def quality(self, wave: np.ndarray) -> tuple[float, float]:
        """DNSMOS overall and P.808."""
        scores = dnsmos.run(at_16k(wave), ASR_RATE_HZ)
        return float(scores["ovrl_mos"]), float(scores["p808_mos"])


def word_error_rate(said: list[str], heard: list[str]) -> tuple[float, float]:
    """WER and CER in per cent over the whole set."""
    said, heard = [plain_words(text) for text in said], [plain_words(text) for text in heard]
    return 100 * float(jiwer.wer(said, heard)), 100 * float(jiwer.cer(said, heard))
