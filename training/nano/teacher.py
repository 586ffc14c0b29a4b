"""The teacher: Kokoro-82M int8 (ONNX) with its durations, F0 and energy as labels (recipe.md 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soxr
from onnx.utils import extract_model

from training.nano.phonemes import Phonemizer
from training.nano.speakers import Speaker, VoiceBank
from training.nano.workspace import write_atomically

TEACHER_RATE_HZ = 24_000
UNIT_SAMPLES = 600  # one duration unit: 25 ms at 24 kHz
PITCH_PER_UNIT = 2  # F0 and energy come at 80 values per second
_INNER = ("/encoder/Clip_output_0", "/encoder/F0_proj/Conv_output_0", "/encoder/N_proj/Conv_output_0")
_MAX_EDGE_UNITS = 5  # silence kept before and after the speech: 125 ms


@dataclass(frozen=True)
class Score:
    """How the teacher would say a text. `durations` (25 ms units) belong to `symbols` and cover the speech exactly."""

    text: str
    speaker: str
    speed: float
    symbols: np.ndarray
    durations: np.ndarray
    f0_hz: np.ndarray
    energy: np.ndarray


@dataclass(frozen=True)
class Utterance(Score):
    """One synthetic recording."""

    wave: np.ndarray  # int16, 22 050 Hz


class Teacher:
    """Text and speaker to `Utterance` (0.3 to 0.5 s of one core per second of audio) or `Score` (0.01 s)."""

    def __init__(self, folder: Path, rate_hz: int = 22_050, *, silent: bool = False) -> None:
        """A `silent` teacher only writes scores: the part of the network that makes the wave is cut off."""
        self._rate_hz = rate_hz
        self._phonemizer = Phonemizer(folder)
        self._voices = VoiceBank(folder / "voices")
        self._outputs = _INNER if silent else ("waveform", *_INNER)
        self._session = _session_with_outputs(folder / "kokoro-quantized.onnx", self._outputs)

    def speak(self, text: str, speaker: Speaker, speed: float) -> Utterance:
        """Raises ValueError when the text has no speakable symbol or more than 500 of them."""
        score, kept, rest = self._run(text, speaker, speed)
        cut = rest["waveform"][kept.first * UNIT_SAMPLES : kept.stop * UNIT_SAMPLES]
        resampled = soxr.resample(cut, TEACHER_RATE_HZ, self._rate_hz, "HQ")
        wave = np.clip(np.rint(resampled * 32767), -32767, 32767).astype(np.int16)
        return Utterance(**vars(score), wave=wave)

    def score(self, text: str, speaker: Speaker, speed: float) -> Score:
        """Raises ValueError as `speak` does."""
        return self._run(text, speaker, speed)[0]

    def _run(self, text: str, speaker: Speaker, speed: float) -> tuple[Score, _Kept, dict[str, np.ndarray]]:
        ids = self._phonemizer.numbers(text)
        if not 0 < len(ids) <= 500:
            raise ValueError(f"{len(ids)} symbols in {text!r}; the teacher takes 1 to 500")
        symbols = np.array([0, *ids, 0], np.int64)
        style = self._voices.style(speaker, len(ids))[None]
        inputs = {"input_ids": symbols[None], "style": style, "speed": np.array([speed], np.float32)}
        outputs = self._session.run(self._outputs, inputs)
        found = {name: value.ravel() for name, value in zip(self._outputs, outputs, strict=True)}
        durations, f0, energy = (found[name] for name in _INNER)
        kept = _Kept.of(np.rint(durations).astype(np.int64))
        pitch = slice(kept.first * PITCH_PER_UNIT, kept.stop * PITCH_PER_UNIT)
        score = Score(
            text=text,
            speaker=speaker.name,
            speed=speed,
            symbols=symbols.astype(np.uint8),
            durations=kept.durations.astype(np.uint8),
            f0_hz=f0[pitch].astype(np.float16),
            energy=energy[pitch].astype(np.float16),
        )
        return score, kept, found


@dataclass(frozen=True)
class _Kept:
    """Units [first, stop) that remain when long silence at both ends is cut, and the durations then."""

    first: int
    stop: int
    durations: np.ndarray

    @classmethod
    def of(cls, units: np.ndarray) -> _Kept:
        head = max(0, int(units[0]) - _MAX_EDGE_UNITS)
        tail = max(0, int(units[-1]) - _MAX_EDGE_UNITS)
        kept = units.copy()
        kept[0] -= head
        kept[-1] -= tail
        return cls(head, int(units.sum()) - tail, kept)


def _session_with_outputs(path: Path, outputs: Sequence[str]) -> onnxruntime.InferenceSession:
    """The part of the network that these outputs need."""
    cut = path.with_name("kokoro-with-labels.onnx" if "waveform" in outputs else "kokoro-scores.onnx")
    if not cut.exists():
        inputs = ["input_ids", "style", "speed"]
        write_atomically(
            cut,
            lambda temporary: extract_model(
                str(path), str(temporary), inputs, list(outputs), check_model=False
            ),
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(cut), options, providers=["CPUExecutionProvider"])
