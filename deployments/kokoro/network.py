"""Kokoro-82M as one ONNX session: phoneme ids and a style in, samples out."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from deployments.core.speech import Samples

MAX_PHONEMES = 510  # the network's 512 positions less the two boundary symbols


class KokoroNetwork:
    """Synthesises one phoneme string per call; calls may come from any thread."""

    def __init__(self, directory: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads may spin while a segment runs; beyond its end they would starve the rest of the graph.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        _share_working_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        self._session = onnxruntime.InferenceSession(
            directory / "kokoro-quantized.onnx", options, providers=["CPUExecutionProvider"]
        )
        tokenizer = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))
        self._ids: dict[str, int] = tokenizer["model"]["vocab"]

    def ids(self, phonemes: str) -> list[int]:
        """Ids of the symbols the network knows; others (stray marks of a phonemizer) are not part of its alphabet."""
        return [self._ids[symbol] for symbol in phonemes if symbol in self._ids]

    def synthesise(self, ids: list[int], style: npt.NDArray[np.float32], speed: float) -> Samples:
        """Samples (n,) at 24 kHz for at most 510 ids; `style` is (1, 256)."""
        if not 0 < len(ids) <= MAX_PHONEMES:
            raise ValueError(f"{len(ids)} phonemes; the network takes 1 to {MAX_PHONEMES}")
        feed = {
            "input_ids": np.array([[0, *ids, 0]], dtype=np.int64),
            "style": style,
            "speed": np.array([speed], dtype=np.float32),
        }
        waveform = self._session.run(None, feed)[0]
        return np.asarray(waveform, dtype=np.float32).ravel()


@cache
def _share_working_memory() -> None:
    """One pool for all sessions of this process, as large as the longest segment needs: by default each session keeps
    one of its own, and gives none of it back."""
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    onnxruntime.create_and_register_allocator(place, None)
