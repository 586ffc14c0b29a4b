"""The teacher: Kokoro-82M int8 (ONNX) with its durations, F0 and energy as labels (nano-recipe.md 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import soxr

from training.nano.phonemes import Phonemizer
from training.nano.speakers import Speaker, VoiceBank
from training.nano.workspace import write_atomically

TEACHER_RATE_HZ = 24_000
UNIT_SAMPLES = 600  # one duration unit: 25 ms at 24 kHz
PITCH_PER_UNIT = 2  # F0 and energy come at 80 values per second
_INNER = ("/encoder/Clip_output_0", "/encoder/F0_proj/Conv_output_0", "/encoder/N_proj/Conv_output_0")
_MAX_EDGE_UNITS = 5  # silence kept before and after the speech: 125 ms


@dataclass(frozen=True)
class Utterance:
    """One synthetic recording. `durations` (25 ms units) belong to `symbols` and cover the wave exactly."""

    text: str
    speaker: str
    speed: float
    symbols: np.ndarray
    durations: np.ndarray
    f0_hz: np.ndarray
    energy: np.ndarray
    wave: np.ndarray  # int16, 22 050 Hz


class Teacher:
    """Text and speaker to `Utterance`. One thread; about 0.29 s of one core per second of audio."""

    def __init__(self, folder: Path, rate_hz: int = 22_050) -> None:
        self._rate_hz = rate_hz
        self._phonemizer = Phonemizer(folder)
        self._voices = VoiceBank(folder / "voices")
        self._session = _session_with_inner_outputs(folder / "kokoro-quantized.onnx")

    def speak(self, text: str, speaker: Speaker, speed: float) -> Utterance:
        """Raises ValueError when the text has no speakable symbol or more than 500 of them."""
        ids = self._phonemizer.numbers(text)
        if not 0 < len(ids) <= 500:
            raise ValueError(f"{len(ids)} symbols in {text!r}; the teacher takes 1 to 500")
        symbols = np.array([0, *ids, 0], np.int64)
        style = self._voices.style(speaker, len(ids))[None]
        wave, durations, f0, energy = (
            output.ravel()
            for output in self._session.run(
                ["waveform", *_INNER],
                {"input_ids": symbols[None], "style": style, "speed": np.array([speed], np.float32)},
            )
        )
        kept = _Kept.of(np.rint(durations).astype(np.int64))
        cut = wave[kept.first * UNIT_SAMPLES : kept.stop * UNIT_SAMPLES]
        resampled = soxr.resample(cut, TEACHER_RATE_HZ, self._rate_hz, "HQ")
        pitch = slice(kept.first * PITCH_PER_UNIT, kept.stop * PITCH_PER_UNIT)
        return Utterance(
            text=text,
            speaker=speaker.name,
            speed=speed,
            symbols=symbols.astype(np.uint8),
            durations=kept.durations.astype(np.uint8),
            f0_hz=f0[pitch].astype(np.float16),
            energy=energy[pitch].astype(np.float16),
            wave=np.clip(np.rint(resampled * 32767), -32767, 32767).astype(np.int16),
        )


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


def _session_with_inner_outputs(path: Path) -> onnxruntime.InferenceSession:
    extended = path.with_name("kokoro-with-labels.onnx")
    if not extended.exists():
        model = onnx.load(str(path))
        for name in _INNER:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        write_atomically(extended, lambda temporary: onnx.save(model, str(temporary)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(extended), options, providers=["CPUExecutionProvider"])
