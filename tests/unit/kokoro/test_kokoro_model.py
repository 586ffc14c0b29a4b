from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.core.speech import Samples
from deployments.engine.step_engine import StepEngine
from deployments.kokoro import model as model_module
from deployments.kokoro.job import DEFAULT_CHARS_PER_S, KokoroJob, Spoken
from deployments.kokoro.model import LONG_PIECE, MEASURED, KokoroModel, Row
from deployments.kokoro.voices import STYLE_WIDTH, expected_voices, find_voices

Engine = StepEngine[KokoroJob, Row, Spoken]


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
    def __init__(self, glossary: object = None) -> None:
        self.texts: list[str] = []

    def phonemes(self, text: str, accent: str) -> str:
        self.texts.append(text)
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
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KokoroModel:
    monkeypatch.setattr(model_module, "KokoroNetwork", FakeNetwork)
    monkeypatch.setattr(model_module, "Phonemizer", FakePhonemizer)
    write_voices(tmp_path / "voices", "af_anna", "zm_bo")
    return KokoroModel(tmp_path, threads=1)


@pytest.fixture
def engine(model: KokoroModel) -> Iterator[Engine]:
    engine: Engine = StepEngine(model, name="kokoro", max_rows=1, max_step_cost=1, max_waiting=3)
    engine.start()
    yield engine
    network(model).gate.set()
    engine.stop()


def network(model: KokoroModel) -> FakeNetwork:
    found: Any = model._network
    return found  # type: ignore[no-any-return]


def spoken(model: KokoroModel) -> list[str]:
    return ["".join(map(chr, ids)) for ids, _, _ in network(model).spoken]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_the_most_urgent_segment_runs_next(engine: Engine, model: KokoroModel) -> None:
    network(model).gate.clear()
    first = asyncio.create_task(engine.result(KokoroJob("first", "af_anna"), slack_s=5))
    await until(lambda: engine.metrics().held_jobs == 1)
    others = [
        asyncio.create_task(engine.result(KokoroJob(text, "af_anna"), slack_s=slack_s))
        for text, slack_s in (("late", 9), ("urgent", -1), ("soon", 1))
    ]
    await until(lambda: engine.metrics().waiting_jobs == 3)
    network(model).gate.set()
    await asyncio.gather(first, *others)
    assert spoken(model) == ["first", "urgent", "soon", "late"]


async def test_a_cancelled_segment_leaves_the_queue_and_is_never_spoken(
    engine: Engine, model: KokoroModel
) -> None:
    network(model).gate.clear()
    tasks = []
    for index, text in enumerate("abcd"):
        tasks.append(asyncio.create_task(engine.result(KokoroJob(text, "af_anna"), slack_s=index)))
        await until(lambda: engine.metrics().held_jobs + engine.metrics().waiting_jobs == len(tasks))
        await until(lambda: engine.metrics().held_jobs == 1)
    tasks[2].cancel()
    await until(lambda: engine.metrics().waiting_jobs == 2)
    tasks[0].cancel()  # the one that runs
    network(model).gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False, True, False]
    assert spoken(model) == ["a", "b", "d"]


async def test_an_error_belongs_to_its_segment(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="crash"):
        await engine.result(KokoroJob("crash", "af_anna"))
    assert len((await engine.result(KokoroJob("fine", "af_anna"))).samples) == 4
    engine.check_health()


def test_what_cannot_be_spoken_says_so(model: KokoroModel) -> None:
    with pytest.raises(
        InvalidRequest, match=r"nothing in '\?!' can be spoken by voice 'zm_bo' \(language 'zh'\)"
    ) as e:
        model.speak(KokoroJob("?!", "zm_bo"))
    assert e.value.param == "input"


def test_speed_and_the_style_of_the_length_reach_the_network(model: KokoroModel) -> None:
    model.speak(KokoroJob("abc", "af_anna", speed=1.5))
    model.speak(KokoroJob("a", "af_anna"))
    model.speak(KokoroJob("a" * 100, "af_anna"))
    assert [(len(ids), row, speed) for ids, row, speed in network(model).spoken] == [
        (3, 2, 1.5),
        (1, 0, 1.0),
        (100, 7, 1.0),
    ]


def test_long_segments_are_spoken_in_pieces_without_loss(model: KokoroModel) -> None:
    text = "word " * 300
    samples = model.speak(KokoroJob(text, "af_anna")).samples
    assert len(network(model).spoken) > 1
    heard = "".join(chr(int(value)) for value in samples)
    assert heard.replace(" ", "") == text.replace(" ", "")


async def test_a_segment_that_reads_longer_than_the_network_takes_stops_between_its_pieces(
    engine: Engine, model: KokoroModel
) -> None:
    network(model).gate.clear()
    long = asyncio.create_task(engine.result(KokoroJob("seven " * 200, "af_anna"), slack_s=5))
    await until(lambda: engine.metrics().held_jobs == 1)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    network(model).gate.set()
    assert len((await engine.result(KokoroJob("next", "af_anna"))).samples) == 4
    assert len(network(model).spoken) == 2, "one piece of the first, and the second"
    assert len(network(model).spoken[0][0]) <= LONG_PIECE
    whole = await engine.result(KokoroJob("seven " * 200, "af_anna"))
    assert "".join(map(chr, whole.samples.astype(int))).replace(" ", "") == "seven" * 200


def test_warm_up_loads_the_dictionaries_of_all_languages_and_runs_the_network_once(
    model: KokoroModel,
) -> None:
    model.warm_up(["fr", "en", "zh"])  # there is no voice that speaks French
    assert spoken(model) == ["Ready when you are"]
    phonemizer: Any = model._phonemizer
    assert phonemizer.texts == ["Ready when you are.", "你好。"]


class Processor:
    """Takes a second for a segment and a tenth for each id, on two threads or, `longer` than that, on one."""

    def __init__(self, longer: float) -> None:
        self.spent_s = 0.0
        self._longer = longer
        self._lock = threading.Lock()

    def network(self, directory: Path, threads: int) -> FakeNetwork:
        processor, made = self, FakeNetwork(directory, threads)

        def synthesise(ids: list[int], style: np.ndarray, speed: float) -> Samples:
            seconds = 1 + 0.1 * len(ids)
            with processor._lock:
                processor.spent_s += seconds * (2 if threads == 2 else processor._longer)
            return np.zeros(len(ids), np.float32)

        made.synthesise = synthesise  # type: ignore[method-assign]
        return made


@pytest.mark.parametrize(
    ("longer", "pairs"), [(1.5, 1.5), (1.9, None)], ids=["two at once gain", "two at once gain nothing"]
)
def test_the_pace_is_measured_in_seconds_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longer: float, pairs: float | None
) -> None:
    processor = Processor(longer)
    monkeypatch.setattr(model_module, "KokoroNetwork", processor.network)
    monkeypatch.setattr(model_module, "Phonemizer", FakePhonemizer)
    monkeypatch.setattr(model_module.time, "process_time", lambda: processor.spent_s)
    write_voices(tmp_path / "voices", "af_anna")
    pace = KokoroModel(tmp_path, threads=2).pace()
    for text in MEASURED:
        ids = len(FakeNetwork(tmp_path, 1).ids(text))
        assert pace.work.seconds(len(text) / DEFAULT_CHARS_PER_S) == pytest.approx(1 + 0.1 * ids)
    if pairs is None:
        assert pace.pairs is None
    else:
        assert pace.pairs is not None
        assert pace.pairs.seconds(2.0) == pytest.approx(pairs * pace.work.seconds(2.0))


def test_with_one_thread_nothing_is_spoken_side_by_side(model: KokoroModel) -> None:
    assert model.pace().pairs is None


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


def test_the_voices_that_a_replica_will_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEGRAPH_MODELS", str(tmp_path))
    published = expected_voices("kokoro")
    assert {"af_heart", "zf_xiaobei"} <= published.keys()
    assert not any(name.startswith("j") for name in published)
    (tmp_path / "kokoro").mkdir()
    write_voices(tmp_path / "kokoro" / "voices", "af_anna")
    assert expected_voices("kokoro").keys() == {"af_anna"}
