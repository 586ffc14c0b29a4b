from __future__ import annotations

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import InvalidRequest, NotFound, Unavailable
from deployments.core.metrics import Reply, StageMetrics
from deployments.core.pipeline import Plan
from deployments.core.speech import AudioChunk, Samples, SpeechRequest, StreamEnd
from deployments.kokoro import pipeline as pipeline_module
from deployments.kokoro.job import KokoroJob
from deployments.kokoro.pipeline import Pipeline
from deployments.kokoro.settings import KokoroSettings
from deployments.kokoro.voices import LANGUAGES, KokoroVoice
from deployments.streaming.playback import FIRST_DUE_S

RATE_HZ = 24_000
VOICES = ("af_heart", "am_adam", "bf_emma", "ff_siwis", "zf_xiaobei", "zf_xiaoni", "zm_yunxi")
METRICS = StageMetrics("here", rows=1)
LONG = "First we speak. Then, after a while, we speak again about something else entirely. " * 3
SEGMENT_S = 0.5


@pytest.fixture(autouse=True)
def _voices(monkeypatch: pytest.MonkeyPatch) -> None:
    genders = {"f": "female", "m": "male"}
    voices = {n: KokoroVoice(n, *LANGUAGES[n[0]], genders[n[1]], Path()) for n in VOICES}
    monkeypatch.setattr(pipeline_module, "expected_voices", lambda checkpoint: voices)


class Call:
    def __init__(self, value: Any, delay_s: float = 0) -> None:
        self.cancelled = False
        self._value = value
        self._delay_s = delay_s

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(self._delay_s).__await__()
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def cancel(self) -> None:
        self.cancelled = True


class Stage:
    """A handle to a Kokoro stage: every segment is half a second of a tone with silence at both ends."""

    def __init__(self, fails_at: int | None = None, delay_s: float = 0) -> None:
        self.jobs: list[KokoroJob] = []
        self.calls: list[Call] = []
        self._fails_at = fails_at
        self._delay_s = delay_s

    def options(self, **_: Any) -> Stage:
        return self

    @property
    def ready(self) -> Any:
        return _Method(lambda: Call(True))

    @property
    def synthesise(self) -> Any:
        return _Method(self._synthesise)

    def _synthesise(self, job: KokoroJob) -> Call:
        failed = len(self.jobs) == self._fails_at
        self.jobs.append(job)
        self.calls.append(Call(Unavailable("down") if failed else Reply(tone(), METRICS), self._delay_s))
        return self.calls[-1]


class _Method:
    def __init__(self, call: Any) -> None:
        self.remote = call


def tone() -> Samples:
    count = round(SEGMENT_S * RATE_HZ)
    sound = 0.5 * np.sin(np.arange(count) * 0.1)
    quiet = np.zeros(RATE_HZ // 4)
    return np.concatenate([quiet, sound, quiet]).astype(np.float32)


def pipeline(stage: Stage | None = None, **settings: Any) -> Pipeline:
    return Pipeline("kokoro", KokoroSettings(**settings), {"kokoro": stage or Stage()})  # type: ignore[dict-item]


async def plan(text: str = "Hello.", settings: dict[str, Any] | None = None, **fields: Any) -> Plan:
    return await pipeline(**settings or {}).plan(SpeechRequest("id", text, **fields))


async def spoken(stage: Stage, text: str, settings: dict[str, Any] | None = None, **fields: Any) -> list[Any]:
    speaker = pipeline(stage, **settings or {})
    return [event async for event in speaker.stream(await speaker.plan(SpeechRequest("id", text, **fields)))]


@pytest.mark.parametrize(
    ("text", "fields", "voice"),
    [
        ("Hello.", {}, "af_heart"),
        ("你好。", {}, "zf_xiaobei"),
        ("Hello.", {"voice": "am_adam"}, "am_adam"),
        ("Hello.", {"voice": "ash"}, "am_adam"),
        ("你好。", {"voice": "ash"}, "zm_yunxi"),
        ("你好。", {"voice": "marin"}, "zf_xiaobei"),
        ("你好。", {"voice": "zf_xiaoni"}, "zf_xiaoni"),
        ("Hello.", {"voice": "zf_xiaoni"}, "zf_xiaoni"),
        ("Bonjour.", {"language": "fr"}, "ff_siwis"),
        ("Hallo.", {"language": "de"}, "af_heart"),
        ("Hello my friends, 你好.", {}, "af_heart"),
    ],
)
async def test_the_voice(text: str, fields: dict[str, Any], voice: str) -> None:
    assert (await plan(text, **fields)).voice.id == voice


@pytest.mark.parametrize("voice", ["nobody", "", "nova"])
async def test_a_voice_that_is_not_there(voice: str) -> None:
    if voice == "":
        assert (await plan(voice=voice)).voice.id == "af_heart"
        return
    with pytest.raises(NotFound, match=f"voice '{voice}' does not exist") as caught:
        await plan(voice=voice)
    assert (caught.value.param, caught.value.code) == ("voice", "voice_not_found")


async def test_a_voice_that_does_not_speak_chinese() -> None:
    with pytest.raises(
        InvalidRequest, match=r"'af_heart' does not speak Chinese; voices that do: zf_xiaobei"
    ) as e:
        await plan("你好。", voice="af_heart")
    assert e.value.param == "voice"


@pytest.mark.parametrize("text", ["Привет", "こんにちは", "안녕", "مرحبا", "Hello שלום", "你好ん"])
async def test_scripts_that_it_cannot_speak_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot speak these characters") as caught:
        await plan(text)
    assert (caught.value.param, caught.value.code) == ("input", "unsupported_characters")


@pytest.mark.parametrize(
    "text", ["Größe", "naïve café", "ＡＢＣ", "α and ω", "5 µm", "नमस्ते", "1ª", "😀 yes", "Ⅷ x"]
)
async def test_scripts_that_it_can_speak(text: str) -> None:
    await plan(text)


@pytest.mark.parametrize(
    ("speed", "native", "tempo"),
    [(1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (4.0, 2.0, 2.0), (0.5, 0.5, 1.0), (0.25, 0.5, 0.5)],
)
async def test_the_network_speaks_at_speeds_it_can_and_the_rest_is_a_stretch(
    speed: float, native: float, tempo: float
) -> None:
    assert (await plan(speed=speed)).tempo == tempo
    stage = Stage()
    await spoken(stage, "Hello.", speed=speed)
    assert stage.jobs[0].speed == native


async def test_parameters_it_does_not_have_are_reported() -> None:
    found = await plan(params={"top_k": 5, "alpha": 1}, quality="high")
    assert set(found.ignored) == {"quality", "alpha", "top_k"}


def test_voices_are_listed_with_their_aliases() -> None:
    voices = {voice.id: voice for voice in pipeline().voices}
    assert len(voices) == len(VOICES)
    assert voices["af_heart"].aliases == ("marin",)
    assert (voices["zm_yunxi"].name, voices["zm_yunxi"].language) == ("Yunxi", "zh")


async def test_all_of_the_text_is_spoken_in_order_and_the_end_says_how_long() -> None:
    stage = Stage()
    *chunks, end = await spoken(stage, LONG)
    assert "".join("".join(job.text.split()) for job in stage.jobs) == "".join(LONG.split())
    assert len(stage.jobs) >= 3
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    assert [chunk.segment for chunk in chunks] == sorted(chunk.segment for chunk in chunks)
    assert isinstance(end, StreamEnd)
    assert end.audio_s == pytest.approx(sum(len(chunk.samples) for chunk in chunks) / RATE_HZ)
    assert end.stage_s.keys() == {"kokoro"}


async def test_segments_are_trimmed_and_the_pause_is_between_not_after() -> None:
    *chunks, _ = await spoken(Stage(), "One sentence is here. Another one follows it.", pause_ms=400)
    first, pause, second = chunks
    assert len(first.samples) / RATE_HZ == pytest.approx(SEGMENT_S + 0.08, abs=0.01)
    assert len(pause.samples) / RATE_HZ == pytest.approx(0.4)
    assert not pause.samples.any()
    assert first.samples[0] == second.samples[-1] == 0


@pytest.mark.parametrize("speed", [0.25, 1.0, 2.0, 4.0])
async def test_a_pause_that_was_asked_for_is_as_long_at_any_speed(speed: float) -> None:
    text = "One sentence is here. Another one follows it."
    tempo = (await plan(text, speed=speed)).tempo
    _, pause, *_ = await spoken(Stage(), text, pause_ms=400, speed=speed)
    assert len(pause.samples) / RATE_HZ / tempo == pytest.approx(0.4)


async def test_no_pause_no_chunk() -> None:
    *chunks, _ = await spoken(Stage(), "One sentence is here. Another one follows it.", pause_ms=0)
    assert len(chunks) == 2


async def test_the_first_segment_is_most_urgent_and_later_ones_may_wait() -> None:
    stage = Stage()
    await spoken(stage, LONG, settings={"lookahead": 3})
    slack = [job.slack_s for job in stage.jobs[:4]]
    assert 0.5 < slack[0] <= FIRST_DUE_S
    assert slack == sorted(slack)
    assert slack[3] > slack[0] + 1


async def test_only_the_first_segment_may_be_refused_and_has_the_deadline() -> None:
    stage = Stage()
    deadline = Deadline.after(9)
    await spoken(stage, LONG, deadline=deadline)
    first, *later = stage.jobs
    assert (first.refusable, first.deadline, first.request_id) == (True, deadline, "id")
    assert later
    assert all((job.refusable, job.deadline) == (False, NEVER) for job in later)


async def test_what_the_stage_says_of_itself_is_noted() -> None:
    speaker = pipeline()
    _ = [event async for event in speaker.stream(await speaker.plan(SpeechRequest("id", "Hello.")))]
    assert speaker.monitor.stages() == {"kokoro": [METRICS]}


@pytest.mark.parametrize("lookahead", [0, 1, 3])
async def test_so_many_segments_are_synthesised_ahead(lookahead: int) -> None:
    stage = Stage()
    speaker = pipeline(stage, lookahead=lookahead)
    stream = speaker.stream(await speaker.plan(SpeechRequest("id", LONG)))
    await anext(stream)
    assert len(stage.jobs) == 1 + lookahead
    await stream.aclose()
    assert [call.cancelled for call in stage.calls] == [False] + [True] * lookahead


async def test_cancelling_while_waiting_cancels_every_segment() -> None:
    stage = Stage(delay_s=60)
    task = asyncio.create_task(spoken(stage, LONG))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stage.calls
    assert all(call.cancelled for call in stage.calls)


async def test_a_failure_is_raised_and_never_skipped() -> None:
    stage = Stage(fails_at=1)
    with pytest.raises(Unavailable, match="down"):
        await spoken(stage, LONG)


def test_the_card() -> None:
    card = pipeline().card
    assert {"en", "zh", "fr"} <= set(card.languages)
    assert "ja" not in card.languages
    assert (card.sample_rate_hz, card.cloning, card.default_voice) == (RATE_HZ, False, "af_heart")
