"""Whatever the bytes: a recording or a SpeechError, soon, and within bounded memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiled_audio import FORMATS, spoiled

from deployments.core.errors import SpeechError
from deployments.voices.decode import MAX_DURATION_S, PADDING_S, decode_reference

MAGICS = [
    b"",
    b"RIFF\0\0\0\0WAVEfmt ",
    b"fLaC",
    b"OggS\0",
    b"\0\0\0\x20ftypM4A ",
    b"\x1a\x45\xdf\xa3",
    b"ID3\x03\0\0\0\0\0\0",
]
MAGICS += [b"\xff\xf1\x50\x80", b"\xff\xfb\x90\x00"]


def check(data: bytes) -> str:
    started = time.process_time()
    try:
        audio = decode_reference(data)
    except SpeechError as error:
        refusal: SpeechError | None = error
    else:
        refusal = None
        assert 1 <= audio.duration_s <= MAX_DURATION_S + PADDING_S
        assert audio.samples.shape[0] in (1, 2)
    assert time.process_time() - started < 3
    if refusal:
        assert 400 <= refusal.status < 500
        assert refusal.message
    return "refused" if refusal else "decoded"


@pytest.mark.slow
@given(st.sampled_from(MAGICS), st.binary(max_size=3000))
@settings(max_examples=300, deadline=None)
def test_random_bytes(magic: bytes, tail: bytes) -> None:
    check(magic + tail)


@pytest.mark.slow
@pytest.mark.parametrize(("container", "codec", "rate"), FORMATS)
def test_mutated_files(speech, encode_av, container: str, codec: str, rate: int) -> None:
    whole = encode_av(speech(1.5, rate), rate, container, codec)
    dice = random.Random(container + codec)
    _forget_peak()
    before = _memory("VmHWM")
    outcomes = [check(spoiled(whole, dice)) for _ in range(120)]
    assert "refused" in outcomes
    assert _memory("VmHWM") - before < 300e6


@pytest.mark.slow
def test_memory_is_bounded_by_the_limits(wav, speech) -> None:
    data = wav(speech(26.0, 96_000, 2), 96_000, "PCM_16")
    tracemalloc.start()
    check(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


@pytest.mark.slow
def test_resident_memory_after_many_broken_files(speech, encode_av) -> None:
    broken = [encode_av(speech(1.5, rate), rate, box, codec)[:-3000] for box, codec, rate in FORMATS]
    for data in broken:
        check(data)
    before = _memory("VmRSS")
    for _ in range(40):
        for data in broken:
            check(data)
    assert _memory("VmRSS") - before < 50e6


def _forget_peak() -> None:
    """Linux counts the peak of resident memory (VmHWM) anew from here."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def _memory(field: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs /proc")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
