"""The networks behind the measures, against figures of the packages they come from (Resemblyzer 0.1.4 with
librosa 0.11, speechmos 0.0.1.1) on a recording that moonshine-cpp carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from measuring import BECKETT, beckett_recording, needs

from serve_app.quality import EvalError
from serve_app.quality.dnsmos import Dnsmos
from serve_app.quality.listener import Listener, word_errors
from serve_app.quality.packages import MEASURES
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave, decode_pcm, is_audible, read_recording
from serve_app.quality.speaker import SpeakerEncoder
from serve_app.quality.spectrum import mel_power

OTHER_VOICE = Path(__file__).parents[3] / "benchmarks" / "quality" / "voices" / "kokoro" / "bm_george.flac"


@pytest.fixture(scope="module")
def beckett() -> Wave:
    """Ten seconds of a man reading Beckett."""
    return read_recording(beckett_recording())


@pytest.fixture(scope="module")
def harmonics() -> Wave:
    """Four seconds of a swelling, wavering buzz, loud enough to be heard as it is."""
    t = np.arange(4 * MEASURE_RATE_HZ) / MEASURE_RATE_HZ
    waver = t * (1 + 0.02 * np.sin(2 * np.pi * 3 * t))
    buzz = sum(np.sin(2 * np.pi * 120 * k * waver) / k for k in range(1, 20))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 2.5 * t)
    return (0.2 * buzz / np.abs(buzz).max() * swell).astype(np.float32)


@pytest.mark.weights
def test_dnsmos_is_that_of_the_package(beckett: Wave) -> None:
    needs("dnsmos")
    scores = Dnsmos()
    # Long enough for two windows, and short enough to be repeated.
    long, short = np.resize(beckett, round(11.5 * MEASURE_RATE_HZ)), beckett[: 5 * MEASURE_RATE_HZ]
    assert scores.score(long) == pytest.approx((3.31998, 3.92339), abs=1e-3)
    assert scores.score(short) == pytest.approx((3.25078, 3.55595), abs=1e-3)


@pytest.mark.weights
def test_the_speaker_embedding_is_that_of_the_package(harmonics: Wave) -> None:
    needs("similarity")
    embedding = SpeakerEncoder().embed(harmonics)
    strongest = [243, 218, 127, 158, 246]
    assert np.argsort(embedding)[-5:].tolist() == strongest
    expected = [0.191577, 0.204392, 0.219402, 0.221044, 0.225699]
    assert embedding[strongest] == pytest.approx(expected, abs=1e-4)


@pytest.mark.weights
def test_a_voice_is_like_itself_however_loud_and_unlike_others(beckett: Wave) -> None:
    needs("similarity")
    encoder = SpeakerEncoder()
    whole = encoder.embed(beckett)
    assert whole @ encoder.embed(beckett[: 5 * MEASURE_RATE_HZ] * 0.05) > 0.9
    assert whole @ encoder.embed(read_recording(OTHER_VOICE)) < 0.7
    assert np.linalg.norm(encoder.embed(beckett[:4000])) == pytest.approx(1, abs=1e-5)


@pytest.mark.weights
def test_all_measures_of_one_answer(beckett: Wave) -> None:
    needs(*MEASURES)
    reference = beckett_recording()
    listener = Listener(MEASURES, [reference])
    found = listener.measure(BECKETT, beckett, reference)
    assert (found["words"], found["errors"]) == (12, 0)
    assert found["similarity"] > 0.9
    assert 1 < found["dnsmos_ovrl"] < 5
    nothing = listener.measure("Ever tried.", np.zeros(16_000, np.float32), reference)
    assert nothing == {"heard": "", "words": 2, "errors": 2, "chars": 10, "char_errors": 10}


def test_word_errors_count_edits() -> None:
    pytest.importorskip("jiwer")
    found = word_errors("The grey cat sat.", "the gray hat sat down")
    assert (found["words"], found["errors"]) == (4, 2)
    assert (found["chars"], found["char_errors"]) == (len("the gray cat sat"), 1 + len(" down"))


def test_a_tone_lies_in_its_band() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(MEASURE_RATE_HZ) / MEASURE_RATE_HZ).astype(np.float32)
    power = mel_power(tone, bands=40, window=400, hop=160)
    assert power.shape == (101, 40)
    # Slaney's scale is linear below 1 kHz, which is mel 15 of 45.2 up to 8 kHz.
    assert abs(int(power[50].argmax()) - 15 / 45.245 * 41) < 1.5


def test_pcm_and_silence() -> None:
    wave = decode_pcm(np.full(24_000, 16384, "<i2").tobytes() + b"\0", 24_000)
    assert len(wave) == 16_000
    assert wave[8000] == pytest.approx(0.5, abs=1e-3)
    assert is_audible(wave)
    assert not is_audible(np.zeros(100, np.float32))
    assert not is_audible(np.zeros(0, np.float32))


def test_a_recording_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("no sound", encoding="utf-8")
    with pytest.raises(EvalError, match="cannot read the recording"):
        read_recording(tmp_path / "a.wav")
