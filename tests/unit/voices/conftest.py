"""Recordings in every allowed format, made with PyAV and soundfile."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from voices_toy import wait_long

from deployments.voices.store import VoiceStore

Speech = Callable[..., NDArray[np.float32]]
WriteWav = Callable[..., bytes]


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no slow store; tests of slow stores set their own limits."""
    wait_long(monkeypatch.setattr)


@pytest.fixture(scope="session")
def speech() -> Speech:
    """speech(duration_s, rate, channels, seed) -> (channels, N): a wavering tone; seeds differ in pitch."""

    def make(
        duration_s: float = 4.0, rate: int = 24_000, channels: int = 1, seed: int = 0
    ) -> NDArray[np.float32]:
        t = np.arange(round(duration_s * rate)) / rate
        tone = 0.3 * np.sin(2 * np.pi * (200 + 10 * seed) * t) * (1 + 0.3 * np.sin(2 * np.pi * 3 * t))
        return np.stack([tone * (1 - 0.3 * channel) for channel in range(channels)]).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def wav() -> WriteWav:
    """wav(samples (channels, N), rate, subtype) -> bytes."""

    def write(
        samples: NDArray[np.floating], rate: int = 24_000, subtype: str = "PCM_16", kind: str = "WAV"
    ) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, np.atleast_2d(samples).T, rate, subtype=subtype, format=kind)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def encode_av() -> Callable[..., bytes]:
    """encode_av(samples (channels, N), rate, container, codec) -> bytes."""

    def encode(samples: NDArray[np.float32], rate: int, container: str, codec: str) -> bytes:
        file = io.BytesIO()
        layout = "mono" if len(samples) == 1 else "stereo"
        with av.open(file, "w", format=container) as media:
            stream = media.add_stream(codec, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for packet in (*stream.encode(frame), *stream.encode(None)):
                media.mux(packet)
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def recording(speech: Speech, wav: WriteWav) -> bytes:
    return wav(speech())


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VoiceStore:
    url = (
        str(tmp_path / "voices")
        if request.param == "local"
        else f"memory://{tmp_path.name}-{id(request)}/voices"
    )
    return VoiceStore(url)
