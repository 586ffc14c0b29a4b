"""Recordings in every container that is read, and how they are spoiled to try what reads them."""

from __future__ import annotations

import io
import random
from functools import cache

import av
import numpy as np

FORMATS = (
    ("wav", "pcm_s16le", 24_000),
    ("flac", "flac", 24_000),
    ("mp3", "libmp3lame", 24_000),
    ("ogg", "libopus", 48_000),
    ("mp4", "aac", 24_000),
    ("webm", "libopus", 48_000),
    ("adts", "aac", 24_000),
)
EDGE = 600  # headers are where demuxers trip; mp4 has them at the end, the others at the start


@cache
def recording(container: str, codec: str, rate_hz: int) -> bytes:
    """1.5 s of a wavering tone."""
    time_s = np.arange(round(1.5 * rate_hz)) / rate_hz
    samples = 0.3 * np.sin(2 * np.pi * 220 * time_s) * (1 + 0.3 * np.sin(2 * np.pi * 3 * time_s))
    file = io.BytesIO()
    with av.open(file, "w", format=container) as media:
        stream = media.add_stream(codec, rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            media.mux(packet)
    return file.getvalue()


def spoiled(whole: bytes, dice: random.Random) -> bytes:
    """A recording with some bytes changed, cut off, missing or doubled; one in eight is left whole."""
    kind = dice.randrange(8)
    if kind == 0:
        return whole
    data = bytearray(whole)
    for _ in range(dice.choice((1, 4, 30))):
        at = dice.choice(
            (dice.randrange(EDGE), len(data) - 1 - dice.randrange(EDGE), dice.randrange(len(data)))
        )
        data[at] = dice.choice((0, 0xFF, 0x7F, 0x80, dice.randrange(256)))
    start = dice.randrange(len(data))
    if kind == 1:
        del data[start:]
    elif kind == 2:
        del data[start : start + dice.randrange(200)]
    elif kind == 3:
        data[start:start] = data[start : start + dice.randrange(2000)]
    return bytes(data)
