"""What is kept of a recording: no silence at its ends, and the best part of a long one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.core.errors import InvalidRequest
from deployments.voices.decode import decode_reference
from deployments.voices.reference import ReferenceAudio

RATE = 16_000
Signal = NDArray[np.float32]


def voice(seconds: float, level: float = 0.3, pitch_hz: float = 180.0) -> Signal:
    """Syllables with short pauses, and a longer pause every two seconds."""
    t = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n for n in (1, 2, 3))
    syllables = 0.15 + 0.85 * np.abs(np.sin(2 * np.pi * 2.5 * t))
    return np.asarray(level * tone * syllables * (t % 2 < 1.6), np.float32)


def silence(seconds: float) -> Signal:
    return np.zeros(round(seconds * RATE), np.float32)


def noise(seconds: float, level: float) -> Signal:
    return (level * np.random.default_rng(5).standard_normal(round(seconds * RATE))).astype(np.float32)


def music(seconds: float, level: float = 0.1) -> Signal:
    t = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(level * sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 440)), np.float32)


@pytest.fixture
def kept(wav: Callable[..., bytes]) -> Callable[..., ReferenceAudio]:
    def decode(*parts: Signal) -> ReferenceAudio:
        return decode_reference(wav(np.concatenate(parts), RATE))

    return decode


def hears(audio: ReferenceAudio, part: Signal) -> bool:
    """Whether a second from the middle of `part` is in the recording."""
    middle = part[len(part) // 2 :][:RATE]
    found = np.correlate(audio.mono(), middle, "valid").max() / float(np.dot(middle, middle))
    return bool(found > 0.99)


@pytest.mark.parametrize("silent_s", [1.5, 8.0, 16.0, 24.9, 28.0, 40.0, 200.0])
@pytest.mark.parametrize("place", ["start", "end"])
def test_long_silence_is_left_out_and_said(
    kept: Callable[..., ReferenceAudio], silent_s: float, place: str
) -> None:
    spoken = voice(5.6)
    audio = kept(*((silence(silent_s), spoken) if place == "start" else (spoken, silence(silent_s))))
    assert audio.duration_s == pytest.approx(5.85, abs=0.1)
    (note,) = audio.warnings
    assert note.startswith("Silence is left out")
    assert f"s at the {place}." in note
    assert hears(audio, spoken[: 2 * RATE])
    assert not audio.shortened


def test_silence_at_both_ends(kept: Callable[..., ReferenceAudio]) -> None:
    audio = kept(silence(20), voice(5.6), silence(3))
    assert audio.warnings == ("Silence is left out: 19.8 s at the start and 2.8 s at the end.",)


@pytest.mark.parametrize("level", [0.0005, 0.002, 0.01, 0.02])
def test_room_noise_is_silence_too(kept: Callable[..., ReferenceAudio], level: float) -> None:
    audio = kept(noise(16, level), voice(5.6))
    assert audio.duration_s == pytest.approx(5.85, abs=0.2)
    assert "Silence is left out" in audio.warnings[0]


def test_a_knock_is_no_voice(kept: Callable[..., ReferenceAudio]) -> None:
    knock = noise(0.03, 0.3)
    assert kept(knock, silence(16), voice(5.6)).duration_s == pytest.approx(5.85, abs=0.1)


@pytest.mark.parametrize("lead_s", [0.0, 0.3, 0.9])
def test_short_silence_belongs_to_the_recording(kept: Callable[..., ReferenceAudio], lead_s: float) -> None:
    audio = kept(silence(lead_s), voice(5.6), silence(0.3))
    assert (audio.duration_s, audio.warnings) == (pytest.approx(5.9 + lead_s, abs=1e-3), ())


def test_a_single_word_in_long_silence(kept: Callable[..., ReferenceAudio]) -> None:
    audio = kept(silence(16), voice(0.2), silence(10))
    assert 1.0 <= audio.duration_s < 1.1
    assert len(audio.warnings) == 2


def test_of_a_long_recording_the_best_part_is_kept(kept: Callable[..., ReferenceAudio]) -> None:
    audio = kept(silence(0.5), voice(60))
    assert 12 < audio.duration_s <= 15
    (note,) = audio.warnings
    assert note.startswith("Of the recording of 60.5 s only the best part is used")
    assert audio.shortened
    quiet = round(0.05 * RATE)
    for edge in (audio.samples[0, :quiet], audio.samples[0, -quiet:]):
        assert np.abs(edge).max() < 0.01, "it is cut at pauses"


@pytest.mark.parametrize("other", [music(30), silence(30), noise(30, 0.1), voice(30, 0.02)], ids=range(4))
@pytest.mark.parametrize("first", [True, False])
def test_the_voice_is_kept_of_what_else_is_heard(
    kept: Callable[..., ReferenceAudio], other: Signal, first: bool
) -> None:
    spoken = voice(12, pitch_hz=150)
    audio = kept(*((spoken, other) if first else (other, spoken)))
    assert hears(audio, spoken)
    assert audio.duration_s <= 15


def test_up_to_thirty_seconds_are_kept_where_the_beginning_is_good(
    kept: Callable[..., ReferenceAudio],
) -> None:
    audio = kept(voice(29))
    assert (audio.duration_s, audio.warnings, audio.shortened) == (29.0, (), False)


def test_a_poor_beginning_is_not_what_is_listened_to(kept: Callable[..., ReferenceAudio]) -> None:
    spoken = voice(12, pitch_hz=150)
    audio = kept(voice(1.5), silence(14), spoken)
    assert hears(audio, spoken)
    assert audio.shortened


def test_what_is_used_is_judged(kept: Callable[..., ReferenceAudio]) -> None:
    audio = kept(voice(0.3), silence(18), voice(1.5))
    assert any("are not silent" in warning for warning in audio.warnings)


@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_channel_is_left_out(wav: Callable[..., bytes], silent: int) -> None:
    spoken = voice(4)
    both = np.stack([spoken, spoken])
    both[silent] = noise(4, 2e-4)
    audio = decode_reference(wav(both, RATE))
    np.testing.assert_allclose(audio.mono(), spoken, atol=1e-4)
    assert audio.warnings == (
        f"Only the {('right', 'left')[silent]} channel holds sound; the other one is left out.",
    )


def test_channels_that_cancel_each_other(wav: Callable[..., bytes]) -> None:
    spoken = voice(4)
    audio = decode_reference(wav(np.stack([spoken, -spoken]), RATE))
    np.testing.assert_allclose(audio.mono(), spoken, atol=1e-4)
    assert "cancel each other" in audio.warnings[0]


def test_an_offset_is_no_sound(wav: Callable[..., bytes]) -> None:
    spoken = voice(4)
    audio = decode_reference(wav(np.concatenate([silence(16), spoken]) + 0.2, RATE))
    assert abs(float(audio.mono().mean())) < 0.02
    assert "offset of 20 %" in audio.warnings[1]
    with pytest.raises(InvalidRequest, match="silent"):
        decode_reference(wav(silence(4) + 0.2, RATE))


@pytest.mark.parametrize("rate", [8_000, 48_000])
def test_other_rates(wav: Callable[..., bytes], speech: Callable[..., Signal], rate: int) -> None:
    lead = np.zeros((1, 16 * rate), np.float32)
    audio = decode_reference(wav(np.concatenate([lead, speech(4, rate)], axis=1), rate))
    assert audio.duration_s == pytest.approx(4.25, abs=0.05)


def test_compressed_recordings_are_cut_at_the_same_places(encode_av: Callable[..., bytes]) -> None:
    spoken = voice(45)[None]
    plain = decode_reference(encode_av(spoken, RATE, "flac", "flac"))
    small = decode_reference(encode_av(spoken, RATE, "mp3", "libmp3lame"))
    assert small.duration_s == pytest.approx(plain.duration_s, abs=0.1)
    assert small.shortened
