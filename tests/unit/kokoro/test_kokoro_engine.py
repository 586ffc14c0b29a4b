from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.errors import CheckpointError, InvalidRequest, Overloaded
from deployments.core.speech import Samples
from deployments.kokoro import engine as engine_module
from deployments.kokoro.engine import KokoroEngine, KokoroJob
from deployments.kokoro.voices import STYLE_WIDTH, find_voices


class FakeNetwork:
    """Each id becomes one sample of that value; a gate can hold it back."""

    def __init__(self, directory: Path, threads: int) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.spoken: list[tuple[list[int], float, float]] = []

    def ids(self, phonemes: str) -> list[int]:
        return [ord(symbol) for symbol in phonemes if symbol.isalpha() or symbol == " "]

    def synthesise(self, ids: list[int], style: np.ndarray, speed: float) -> Samples:
        assert self.gate.wait(5)
        assert style.shape == (1, STYLE_WIDTH)
        self.spoken.append((ids, float(style[0, 0]), speed))
        return np.array(ids, dtype=np.float32)


class FakePhonemizer:
    def phonemes(self, text: str, accent: str) -> str:
        if text == "crash":
            raise RuntimeError("crash")
        return text


def write_voices(directory: Path, *names: str) -> Path:
    directory.mkdir(exist_ok=True)
    for name in names:
        # The first value of each row is the row's number.
        table = np.repeat(np.arange(8, dtype=np.float32)[:, None], STYLE_WIDTH, axis=1)
        table.tofile(directory / f"{name}.bin")
    return directory


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KokoroEngine:
    monkeypatch.setattr(engine_module, "KokoroNetwork", FakeNetwork)
    monkeypatch.setattr(engine_module, "Phonemizer", FakePhonemizer)
    write_voices(tmp_path / "voices", "af_anna", "zm_bo")
    return KokoroEngine(tmp_path, threads=1, max_waiting=3)


def network(engine: KokoroEngine) -> FakeNetwork:
    found: Any = engine._network
    return found  # type: ignore[no-any-return]


def spoken(engine: KokoroEngine) -> list[str]:
    return ["".join(map(chr, ids)) for ids, _, _ in network(engine).spoken]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0.001)


async def test_the_most_urgent_segment_runs_next(engine: KokoroEngine) -> None:
    engine.start()
    network(engine).gate.clear()
    first = asyncio.create_task(engine.synthesise(KokoroJob("first", "af_anna", slack_s=5)))
    await settle()
    others = [
        asyncio.create_task(engine.synthesise(KokoroJob(text, "af_anna", slack_s=slack_s)))
        for text, slack_s in (("late", 9), ("urgent", -1), ("soon", 1))
    ]
    await settle()
    assert engine.waiting == 3
    network(engine).gate.set()
    await asyncio.gather(first, *others)
    assert spoken(engine) == ["first", "urgent", "soon", "late"]
    assert engine.waiting == 0


async def test_a_full_queue_refuses_at_once(engine: KokoroEngine) -> None:
    engine.start()
    network(engine).gate.clear()
    tasks = []
    for _ in range(4):
        tasks.append(asyncio.create_task(engine.synthesise(KokoroJob("x", "af_anna"))))
        await settle()
    assert engine.waiting == 3
    with pytest.raises(Overloaded) as caught:
        await engine.synthesise(KokoroJob("x", "af_anna"))
    assert caught.value.retry_after_s == 1
    network(engine).gate.set()
    assert len(await asyncio.gather(*tasks)) == 4


async def test_a_cancelled_segment_leaves_the_queue_and_is_never_spoken(engine: KokoroEngine) -> None:
    engine.start()
    network(engine).gate.clear()
    tasks = []
    for index, text in enumerate("abcd"):
        tasks.append(asyncio.create_task(engine.synthesise(KokoroJob(text, "af_anna", slack_s=index))))
        await settle()
    tasks[2].cancel()
    await settle()
    assert engine.waiting == 2
    tasks[0].cancel()  # the one that runs
    network(engine).gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False, True, False]
    assert spoken(engine) == ["a", "b", "d"]
    engine.check_health()


async def test_an_error_belongs_to_its_segment(engine: KokoroEngine) -> None:
    engine.start()
    with pytest.raises(RuntimeError, match="crash"):
        await engine.synthesise(KokoroJob("crash", "af_anna"))
    assert len(await engine.synthesise(KokoroJob("fine", "af_anna"))) == 4
    engine.check_health()


async def test_health_is_that_of_the_worker(engine: KokoroEngine) -> None:
    with pytest.raises(RuntimeError, match="not running"):
        engine.check_health()
    engine.start()
    engine.check_health()
    assert engine._worker is not None
    engine._worker.cancel()
    await settle()
    with pytest.raises(RuntimeError, match="not running"):
        engine.check_health()


def test_what_cannot_be_spoken_says_so(engine: KokoroEngine) -> None:
    with pytest.raises(
        InvalidRequest, match=r"nothing in '\?!' can be spoken by voice 'zm_bo' \(language 'zh'\)"
    ) as e:
        engine.speak(KokoroJob("?!", "zm_bo"))
    assert e.value.param == "input"


def test_speed_and_the_style_of_the_length_reach_the_network(engine: KokoroEngine) -> None:
    engine.speak(KokoroJob("abc", "af_anna", speed=1.5))
    engine.speak(KokoroJob("a" * 100, "af_anna"))
    assert [(len(ids), row, speed) for ids, row, speed in network(engine).spoken] == [
        (3, 3, 1.5),
        (100, 7, 1.0),
    ]


def test_long_segments_are_spoken_in_pieces_without_loss(engine: KokoroEngine) -> None:
    text = "word " * 300
    samples = engine.speak(KokoroJob(text, "af_anna"))
    assert len(network(engine).spoken) > 1
    heard = "".join(chr(int(value)) for value in samples)
    assert heard.replace(" ", "") == text.replace(" ", "")


def test_warm_up_speaks_every_language_that_has_a_voice(engine: KokoroEngine) -> None:
    engine.warm_up(["en", "zh", "fr"])
    assert spoken(engine) == ["Ready when you are", "你好"]


def test_voices_tell_language_and_gender_by_their_names(tmp_path: Path) -> None:
    names = ["af_a", "bm_b", "zf_c", "ff_d", "jf_japanese", "xf_unknown", "a", "af", "readme"]
    voices = find_voices(write_voices(tmp_path / "v", *names))
    assert voices.keys() == {"af_a", "bm_b", "zf_c", "ff_d"}
    assert [(v.language, v.accent, v.gender) for v in voices.values()] == [
        ("en", "en-us", "female"),
        ("en", "en-gb", "male"),
        ("fr", "fr-fr", "female"),
        ("zh", "zh", "female"),
    ]


def test_no_voices_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="voicegraph models pull kokoro"):
        find_voices(tmp_path)
