"""The networks behind the measures, against figures of the packages they come from (Resemblyzer 0.1.4 with
librosa 0.11, speechmos 0.0.1.1) on a recording that moonshine-cpp carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from serve_app.quality import packages
from serve_app.quality.errors import EvalError
from serve_app.quality.listener import Listener, is_audible, word_errors
from serve_app.quality.packages import check_measures
from serve_app.quality.recogniser import LONGEST, cut_at_pauses
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave, decode_pcm, read_recording
from serve_app.quality.spectrum import mel_power

OTHER_VOICE = Path(__file__).parents[3] / "benchmarks" / "quality" / "voices" / "kokoro" / "bm_george.flac"


def needs(measure: str) -> None:
    for package in packages.NEEDED[measure]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


@pytest.fixture(scope="module")
def beckett() -> Wave:
    """Ten seconds of a man reading Beckett."""
    needs("wer")
    return read_recording(packages.file_of("moonshine_cpp", "test-data/beckett.wav"))


@pytest.fixture(scope="module")
def harmonics() -> Wave:
    """Four seconds of a swelling, wavering buzz, loud enough to be heard as it is."""
    t = np.arange(4 * MEASURE_RATE_HZ) / MEASURE_RATE_HZ
    waver = t * (1 + 0.02 * np.sin(2 * np.pi * 3 * t))
    buzz = sum(np.sin(2 * np.pi * 120 * k * waver) / k for k in range(1, 20))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 2.5 * t)
    return (0.2 * buzz / np.abs(buzz).max() * swell).astype(np.float32)


def test_dnsmos_is_that_of_the_package(beckett: Wave) -> None:
    needs("dnsmos")
    from serve_app.quality.dnsmos import Dnsmos

    scores = Dnsmos()
    # Long enough for two windows, and short enough to be repeated.
    long, short = np.resize(beckett, round(11.5 * MEASURE_RATE_HZ)), beckett[: 5 * MEASURE_RATE_HZ]
    assert scores.score(long) == pytest.approx((3.31998, 3.92339), abs=1e-3)
    assert scores.score(short) == pytest.approx((3.25078, 3.55595), abs=1e-3)


def test_the_speaker_embedding_is_that_of_the_package(harmonics: Wave) -> None:
    needs("similarity")
    from serve_app.quality.speaker import SpeakerEncoder

    embedding = SpeakerEncoder().embed(harmonics)
    strongest = [243, 218, 127, 158, 246]
    assert np.argsort(embedding)[-5:].tolist() == strongest
    expected = [0.191577, 0.204392, 0.219402, 0.221044, 0.225699]
    assert embedding[strongest] == pytest.approx(expected, abs=1e-4)


def test_a_voice_is_like_itself_however_loud_and_unlike_others(beckett: Wave) -> None:
    needs("similarity")
    from serve_app.quality.speaker import SpeakerEncoder

    encoder = SpeakerEncoder()
    whole = encoder.embed(beckett)
    assert whole @ encoder.embed(beckett[: 5 * MEASURE_RATE_HZ] * 0.05) > 0.9
    assert whole @ encoder.embed(read_recording(OTHER_VOICE)) < 0.7
    assert np.linalg.norm(encoder.embed(beckett[:4000])) == pytest.approx(1, abs=1e-5)


def test_all_measures_of_one_answer(beckett: Wave) -> None:
    for measure in packages.MEASURES:
        needs(measure)
    reference = packages.file_of("moonshine_cpp", "test-data/beckett.wav")
    listener = Listener(packages.MEASURES, [reference])
    text = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    found = listener.measure(text, beckett, reference)
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


def test_long_recordings_are_cut_in_their_pauses() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 45 * MEASURE_RATE_HZ).astype(np.float32)
    pauses = [17, 33]
    for second in pauses:
        noise[second * MEASURE_RATE_HZ : round((second + 0.4) * MEASURE_RATE_HZ)] = 0
    parts = cut_at_pauses(noise)
    assert np.array_equal(np.concatenate(parts), noise)
    assert max(map(len, parts)) <= LONGEST
    cuts = np.cumsum([len(part) for part in parts])[:-1] / MEASURE_RATE_HZ
    assert all(second <= cut <= second + 0.4 for second, cut in zip(pauses, cuts, strict=True))


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


def test_missing_packages_are_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.NEEDED, "similarity", {"no_such_speaker": packages.SPEAKER})
    monkeypatch.setitem(packages.NEEDED, "wer", {"no_such_asr": packages.EXTRA})
    monkeypatch.setitem(packages.NEEDED, "dnsmos", {"json": packages.EXTRA})
    check_measures(["dnsmos"])
    with pytest.raises(EvalError) as caught:
        check_measures(packages.MEASURES)
    assert "no_such_asr, no_such_speaker" in str(caught.value)
    assert "pip install 'voicegraph[quality]' && pip install --no-deps Resemblyzer" in str(caught.value)
    assert "--measures dnsmos" in str(caught.value)
    with pytest.raises(EvalError, match="no measure loudness"):
        check_measures(["loudness"])
