"""Cutting, decoding and the tokens with a scripted network; words with Moonshine's weights."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from measuring import BECKETT, beckett_recording, needs

from serve_app.quality import recogniser
from serve_app.quality.plain_words import plain_words
from serve_app.quality.recogniser import (
    BEGIN,
    END,
    LONGEST,
    PAD,
    Recogniser,
    cut_at_pauses,
    loops,
    most_tokens,
    read_pieces,
    text_of,
)
from serve_app.quality.recording import MEASURE_RATE_HZ, Wave, read_recording

MARKS = [b"<unk>", b"<s>", b"</s>"]
PIECES = [*MARKS, *(bytes([value]) for value in range(256)), "▁no".encode(), "▁caf".encode(), "é".encode()]
NO, CAF, ACUTE = range(259, 262)
WIDTH = 4


def table(pieces: Sequence[bytes]) -> bytes:
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


class ScriptedNetwork:
    """Both networks: says `script` for every wave, then END for ever, and checks the keys and values it gets."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script = script
        self.waves: list[int] = []
        self.steps = 0

    def get_inputs(self) -> list[Any]:
        names = [f"past_key_values.0.{part}.key" for part in ("decoder", "encoder")]
        caches = [SimpleNamespace(name=name, shape=[1, 2, None, WIDTH]) for name in names]
        return [SimpleNamespace(name="input_ids", shape=[1, None]), *caches]

    def run(self, outputs: list[str] | None, inputs: dict[str, Any]) -> list[Any]:
        if "input_values" in inputs:
            assert inputs["input_values"].dtype == np.float32
            self.waves.append(inputs["input_values"].shape[1])
            return [np.zeros((1, 3, WIDTH), np.float32)]
        assert outputs is not None
        (began,) = inputs["use_cache_branch"]
        (token,) = inputs["input_ids"][0]
        said = inputs["past_key_values.0.decoder.key"].shape[2]
        assert (token == BEGIN) == (said == 0) == (not began)
        assert inputs["past_key_values.0.encoder.key"].shape[2] == (3 if began else 0)
        self.steps += 1
        logits = np.zeros((1, 1, len(PIECES)), np.float32)
        logits[0, 0, self.script[said] if said < len(self.script) else END] = 1
        made = {
            "logits": logits,
            "present.0.decoder.key": np.zeros((1, 2, said + 1, WIDTH)),
            "present.0.encoder.key": np.zeros((1, 2, 3, WIDTH)),
        }
        return [made[name] for name in outputs]


def hearing(network: ScriptedNetwork, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recogniser:
    (folder / "tokenizer.bin").write_bytes(table(PIECES))
    monkeypatch.setattr(recogniser, "open_network", lambda _package, _path: network)
    monkeypatch.setattr(recogniser, "weights_of", lambda _package, _path: folder / "tokenizer.bin")
    return Recogniser()


def test_tokens_are_read_until_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ScriptedNetwork([NO, CAF, ACUTE])
    heard = hearing(network, tmp_path, monkeypatch).hear(np.zeros(MEASURE_RATE_HZ, np.float32))
    assert heard == "no café"
    assert network.steps == 4


def test_a_long_recording_is_heard_in_parts_with_silence_around_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ScriptedNetwork([NO])
    wave = np.random.default_rng(0).normal(0, 0.1, 45 * MEASURE_RATE_HZ)
    assert hearing(network, tmp_path, monkeypatch).hear(wave.astype(np.float32)) == "no no no"
    assert sum(network.waves) == len(wave) + 3 * 2 * PAD
    assert max(network.waves) <= LONGEST + 2 * PAD


@pytest.mark.parametrize("phrase", [[NO], [NO, CAF], [NO, NO, CAF], [NO, NO, CAF, ACUTE]])
def test_a_loop_is_left(phrase: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ScriptedNetwork(phrase * 1000)
    hearing(network, tmp_path, monkeypatch).hear(np.zeros(LONGEST, np.float32))
    assert network.steps == 24 * len(phrase)


def test_speech_without_an_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = ScriptedNetwork([NO, CAF, ACUTE, CAF, CAF] * 1000)
    hearing(network, tmp_path, monkeypatch).hear(np.zeros(10 * MEASURE_RATE_HZ, np.float32))
    # The last step's token is not used any more.
    assert network.steps == 1 + most_tokens(10 * MEASURE_RATE_HZ + 2 * PAD) == 1 + 12 + 68


def test_what_people_repeat_is_no_loop() -> None:
    assert not loops([])
    assert not loops([NO] * 23)
    assert loops([CAF] + [NO] * 24)
    assert not loops([NO] * 24 + [CAF])
    assert not loops([NO, NO, NO, NO, CAF] * 100)


def test_the_table_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(table([*PIECES, b"x" * 255, b""]))
    pieces = read_pieces(path)
    assert pieces == [*PIECES, b"x" * 255, b""]
    o, k = (3 + ord(letter) for letter in "ok")
    assert text_of([BEGIN, NO, o, k, CAF, 3 + 0xC3, 3 + 0xA9, END, len(pieces)], pieces) == "nook café"
    assert text_of([3 + 0xC3], pieces) == "\ufffd"
    assert text_of([], pieces) == ""


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


@pytest.fixture(scope="module")
def moonshine() -> Recogniser:
    needs("wer")
    return Recogniser()


@pytest.fixture(scope="module")
def beckett() -> Wave:
    return read_recording(beckett_recording())


@pytest.mark.weights
def test_a_man_is_understood(moonshine: Recogniser, beckett: Wave) -> None:
    assert plain_words(moonshine.hear(beckett)) == plain_words(BECKETT)


@pytest.mark.weights
@pytest.mark.parametrize("begins_s", [0.0, 6.7])
def test_every_part_of_a_long_recording_is_understood(
    moonshine: Recogniser, beckett: Wave, begins_s: float
) -> None:
    """Of some parts the network says at once that they have ended."""
    recording = np.roll(np.tile(beckett, 4), -round(begins_s * MEASURE_RATE_HZ))
    heard = plain_words(moonshine.hear(recording))
    assert abs(len(heard) - 48) <= 3  # a word may be cut where the recording begins


@pytest.mark.weights
@pytest.mark.parametrize("seconds", [0.0, 0.001, 3.0, 25.0])
def test_nothing_is_heard_in_silence(moonshine: Recogniser, seconds: float) -> None:
    assert moonshine.hear(np.zeros(round(seconds * MEASURE_RATE_HZ), np.float32)) == ""


@pytest.mark.weights
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists what a process has loaded")
def test_the_library_of_the_package_is_not_loaded(moonshine: Recogniser, beckett: Wave) -> None:
    """It holds AVX-512 instructions without asking the processor."""
    moonshine.hear(beckett[:MEASURE_RATE_HZ])
    assert "libmoonshine" not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert "moonshine_cpp" not in sys.modules
