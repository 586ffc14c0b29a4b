from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quality_toy_server import ToyServer, tone

from serve_app.bench.client import Target
from serve_app.quality import EvalError
from serve_app.quality.evaluation import Evaluation, expected_s
from serve_app.quality.figures import figures
from serve_app.quality.lines import Line, LineSet
from serve_app.quality.listener import Listener, word_errors
from serve_app.quality.recording import Wave
from serve_app.quality.result import Result
from serve_app.quality.server import Answer, Fields, SpeechServer
from serve_app.quality.spool import Spool

LINES = LineSet(
    "toy", (Line("1", "The first line of two."), Line("2", "And here is the second.", voice="anna"))
)


class ToyListener(Listener):
    """Hears the text of the lines in order of being asked, without a network."""

    def __init__(self) -> None:
        super().__init__(())
        self.asked = 0

    def measure(self, text: str, wave: Wave, reference: Path | None) -> dict[str, Any]:
        self.asked += 1
        return word_errors(text, text if len(wave) else "")


def silent(_phase: str, _done: int, _total: int) -> None:
    pass


def evaluation(toy: ToyServer, settings: dict[str, dict[str, Any]], chosen: LineSet = LINES) -> Evaluation:
    return Evaluation(Target(toy.url, model="toy"), settings, chosen, ("wer",))


async def evaluated(asked: Evaluation, folder: Path, audio: Path | None = None) -> dict[str, Result]:
    spool = Spool(folder / "answers", asked.key)
    await asked.speak(spool, silent)
    return asked.measure(spool, ToyListener(), audio, silent)


async def test_settings_of_a_line_are_spoken_in_turn_after_every_voice_and_setting_is_warm(
    toy: ToyServer, tmp_path: Path
) -> None:
    await evaluated(evaluation(toy, {"plain": {}, "quick": {"speed": 2.0}}), tmp_path)
    sent = [(body["input"][:3], body.get("voice"), body.get("speed")) for body in toy.bodies]
    assert sent == [
        ("Thi", None, None),
        ("Thi", None, 2.0),
        ("Thi", "anna", None),
        ("The", None, None),
        ("The", None, 2.0),
        ("And", "anna", 2.0),
        ("And", "anna", None),
    ]


async def test_times_audio_and_words_of_every_item(toy: ToyServer, tmp_path: Path) -> None:
    found = await evaluated(evaluation(toy, {"plain": {}}), tmp_path, tmp_path / "kept")
    one, two = found["plain"].items
    assert (one.id, two.id, two.voice) == ("1", "2", "anna")
    assert one.audio_s == pytest.approx(len(one.text) / 14, abs=1e-3)
    assert one.total_s is not None
    assert one.first_audio_s is not None
    assert 0 < one.first_audio_s <= one.total_s
    assert (one.words, one.errors, one.failure) == (5, 0, None)
    assert found["plain"].settings["answered_by"] == ["toy"]
    assert found["plain"].chosen["sha256"] == LINES.sha256
    assert len(list((tmp_path / "kept").glob("*.wav"))) == 2


async def test_failures_are_told_apart_and_missing_speech_counts_as_wrong_words(
    toy: ToyServer, tmp_path: Path
) -> None:
    texts = ("This one fails.", "This one is empty.", "This one is silent.", "This one never ends.", "Fine.")
    toy.answers = {
        texts[0]: 500,
        texts[1]: b"",
        texts[2]: tone(2, level=0.0),
        texts[3]: tone(2.5 * expected_s(texts[3])),
    }
    chosen = LineSet("toy", tuple(Line(str(number), text) for number, text in enumerate(texts)))
    found = (await evaluated(evaluation(toy, {"plain": {}}, chosen), tmp_path))["plain"]
    assert [item.failure for item in found.items] == ["error", "empty", "empty", "long", None]
    assert found.items[0].detail is not None
    assert "it is too much" in found.items[0].detail
    assert found.items[0].total_s is None
    assert (found.items[0].errors, found.items[1].errors) == (3, 4)
    assert figures(found.items)["failures"] == {"error": 1, "empty": 2, "long": 1}


async def test_a_run_that_broke_off_goes_on(toy: ToyServer, tmp_path: Path) -> None:
    asked = evaluation(toy, {"plain": {}})
    spool = Spool(tmp_path / "answers", asked.key)

    def breaks(_phase: str, done: int, _total: int) -> None:
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        await asked.speak(spool, breaks)
    toy.bodies.clear()
    found = await evaluated(asked, tmp_path)
    assert [body["input"] for body in toy.bodies if body["input"] == LINES.lines[0].text] == []
    assert len(found["plain"].items) == 2
    toy.bodies.clear()
    await evaluated(evaluation(toy, {"plain": {"speed": 2.0}}), tmp_path)
    assert LINES.lines[0].text in [body["input"] for body in toy.bodies]


async def test_a_server_that_goes_away_ends_the_run_instead_of_failing_every_item(
    toy: ToyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = evaluation(toy, {"plain": {}})
    speak = SpeechServer.speak

    async def gone(server: SpeechServer, line: Line, fields: Fields) -> Answer:
        if line.id == "2":
            server = SpeechServer(Target("http://127.0.0.1:9"))
        return await speak(server, line, fields)

    monkeypatch.setattr(SpeechServer, "speak", gone)
    with pytest.raises(EvalError, match="gone after 1 of 2 answers"):
        await asked.speak(Spool(tmp_path / "answers", asked.key), silent)


async def test_equal_answers_are_measured_once(toy: ToyServer, tmp_path: Path) -> None:
    asked = evaluation(toy, {"streamed": {}, "one pass": {"stream": False}})
    spool, listener = Spool(tmp_path / "answers", asked.key), ToyListener()
    await asked.speak(spool, silent)
    found = asked.measure(spool, listener, None, silent)
    assert listener.asked == 2
    assert [item.errors for item in found["one pass"].items] == [0, 0]


async def test_measuring_that_broke_off_goes_on(toy: ToyServer, tmp_path: Path) -> None:
    asked = evaluation(toy, {"plain": {}})
    spool, listener = Spool(tmp_path / "answers", asked.key), ToyListener()
    await asked.speak(spool, silent)

    def breaks(_phase: str, _done: int, _total: int) -> None:
        raise RuntimeError("broken off")

    with pytest.raises(RuntimeError, match="broken off"):
        asked.measure(spool, listener, None, breaks)
    found = asked.measure(spool, listener, None, silent)
    assert listener.asked == 2
    assert [item.errors for item in found["plain"].items] == [0, 0]


async def test_a_setting_that_the_server_ignores_is_refused(toy: ToyServer, tmp_path: Path) -> None:
    toy.ignores = "diffusion_steps, other"
    with pytest.raises(EvalError, match="toy ignores diffusion_steps of '4 steps'"):
        await evaluated(evaluation(toy, {"4 steps": {"diffusion_steps": 4}}), tmp_path)


async def test_a_server_that_does_not_speak_is_named(toy: ToyServer, tmp_path: Path) -> None:
    toy.answers["This sentence comes before the test."] = 404
    with pytest.raises(EvalError, match="the default voice under 'plain': http_404"):
        await evaluated(evaluation(toy, {"plain": {}}), tmp_path)


async def test_the_spool_gives_back_what_it_got(toy: ToyServer, tmp_path: Path) -> None:
    asked = evaluation(toy, {"plain": {}})
    spool = Spool(tmp_path / "answers", asked.key)
    await asked.speak(spool, silent)
    (path,) = tmp_path.glob("answers/00-1-*.body")
    answer = spool.get(path.stem)
    assert answer.body == tone(len(LINES.lines[0].text) / 14)
    assert answer.trace.arrivals
    assert np.abs(answer.wave()).max() == pytest.approx(0.1, abs=0.01)
