"""Emotions of requests: what is read once, for how many, and when it is given up."""

from __future__ import annotations

import asyncio
import contextvars
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest, UnsupportedMedia
from deployments.core.speech import Emotion
from deployments.indextts2 import emotion as emotions
from deployments.indextts2.emotion import EmotionReader, EmotionReading
from deployments.indextts2.speaker.emotion import EmotionMatrix
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob
from deployments.voices.profile import VoiceProfile

DIM = 4
SCORES = [0.5, 0, 0, 0, 0, 0, 0, 0.25]


class Stage:
    """Answers when `gate` is open; notes what it is asked and what is given up."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.given_up = 0
        self.matrices = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: InvalidRequest | None = None
        self.context = contextvars.ContextVar[str]("request", default="none")
        self.contexts: list[str] = []

    async def emotion_scores(self, job: EmotionTextJob) -> list[float]:
        await self._work(job)
        return SCORES

    async def emotion_vector(self, job: EmotionAudioJob) -> np.ndarray:
        await self._work(job)
        return np.full(DIM, 3.0, np.float32)

    async def emotion_matrix(self) -> EmotionMatrix:
        self.matrices += 1
        return EmotionMatrix(np.ones((8, 2), np.float32), np.ones((8, DIM), np.float32), (1,) * 8)

    async def _work(self, job: Any) -> None:
        self.jobs.append(job)
        self.contexts.append(self.context.get())
        try:
            await asyncio.wait_for(self.gate.wait(), min(job.deadline.left_s, 60.0))
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        except (TimeoutError, asyncio.TimeoutError):
            raise DeadlineExceeded("the stage gave up") from None
        if self.error is not None:
            raise self.error


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def reader(stage: Stage) -> EmotionReader:
    return EmotionReader(stage)


async def read(reader: EmotionReader, emotion: Emotion | None, deadline: Deadline = NEVER) -> EmotionReading:
    return await reader.read(emotion, request_id="test", deadline=deadline)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.slow
def test_what_the_pipeline_imports_of_the_stages_loads_no_torch() -> None:
    """The process that routes needs 150 MB, with torch 500."""
    modules = ("emotion", "speaker.job", "speaker.emotion", "s2mel.job", "vocoder.job")
    imports = "; ".join(f"import deployments.indextts2.{module}" for module in modules)
    heavy = "{'torch', 'torchaudio', 'transformers'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {imports}; print(*{heavy} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


async def test_nothing_said_asks_nobody(reader: EmotionReader, stage: Stage) -> None:
    assert await read(reader, None) == EmotionReading()
    assert await read(reader, Emotion()) == EmotionReading()
    weights = (await read(reader, Emotion(vector=(0.2,) + (0.0,) * 7))).weights
    assert weights is not None
    assert stage.jobs == []


async def test_a_text_is_read_once(reader: EmotionReader, stage: Stage) -> None:
    first = await read(reader, Emotion(text="like a storm", alpha=0.5))
    again = await read(reader, Emotion(text="like a storm"))
    assert [job.text for job in stage.jobs] == ["like a storm"]
    assert stage.jobs[0].request_id == "test"
    assert first.weights == (0.25, 0, 0, 0, 0, 0, 0, 0.125)
    assert again.weights == tuple(SCORES)


async def test_all_who_want_the_same_text_at_the_same_time_share_one_reading(
    reader: EmotionReader, stage: Stage
) -> None:
    stage.gate.clear()
    tasks = [asyncio.create_task(read(reader, Emotion(text="glad"))) for _ in range(3)]
    await until(lambda: stage.jobs)
    tasks.append(asyncio.create_task(read(reader, Emotion(text="glad"))))
    tasks[0].cancel()
    await asyncio.sleep(0.01)
    assert stage.given_up == 0, "others wait for it"
    stage.gate.set()
    readings = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(readings[0], asyncio.CancelledError)
    assert all(reading.weights == tuple(SCORES) for reading in readings[1:])
    assert len(stage.jobs) == 1


async def test_a_reading_that_nobody_waits_for_is_given_up(reader: EmotionReader, stage: Stage) -> None:
    stage.gate.clear()
    tasks = [asyncio.create_task(read(reader, Emotion(text="never mind"))) for _ in range(2)]
    await until(lambda: stage.jobs)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # Whoever wants it from here on must not get the end of what was given up.
    later = asyncio.create_task(read(reader, Emotion(text="never mind")))
    await until(lambda: stage.given_up == 1)
    stage.gate.set()
    assert (await later).weights == tuple(SCORES)


async def test_nobody_waits_beyond_a_deadline_of_their_own(reader: EmotionReader, stage: Stage) -> None:
    stage.gate.clear()
    hasty = asyncio.create_task(read(reader, Emotion(text="slow"), Deadline.after(0.05)))
    await until(lambda: stage.jobs)
    patient = asyncio.create_task(read(reader, Emotion(text="slow"), Deadline.after(60)))
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert not patient.done()
    stage.gate.set()
    assert (await patient).weights == tuple(SCORES)


async def test_the_reading_of_one_request_is_not_a_call_of_that_request(
    reader: EmotionReader, stage: Stage
) -> None:
    """Serve cancels all calls that were made in the context of a request together with it."""
    stage.context.set("of the first request")
    await read(reader, Emotion(text="calm"))
    assert stage.contexts == ["none"]


async def test_that_a_text_says_nothing_is_known_as_well(reader: EmotionReader, stage: Stage) -> None:
    stage.error = InvalidRequest("no feeling in it", param="emotion", code="emotion_text_unclear")
    for _ in range(3):
        with pytest.raises(InvalidRequest, match="no feeling") as caught:
            await read(reader, Emotion(text="1 2 3"))
        assert caught.value.code == "emotion_text_unclear"
    assert len(stage.jobs) == 1


async def test_a_server_without_the_classifier_is_rarely_asked(
    reader: EmotionReader, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.error = InvalidRequest("not installed", param="emotion", code="emotion_text_unavailable")
    for text in ("sad", "glad", "mad"):
        with pytest.raises(InvalidRequest, match="not installed"):
            await read(reader, Emotion(text=text))
    assert len(stage.jobs) == 1
    monkeypatch.setattr(emotions, "UNAVAILABLE_S", 0.0)
    other = EmotionReader(stage)
    with pytest.raises(InvalidRequest, match="not installed"):
        await read(other, Emotion(text="sad"))
    stage.error = None
    assert (await read(other, Emotion(text="sad"))).weights == tuple(SCORES)


async def test_other_errors_are_not_kept(reader: EmotionReader, stage: Stage) -> None:
    stage.error = InvalidRequest("who knows", code="else")
    with pytest.raises(InvalidRequest):
        await read(reader, Emotion(text="sad"))
    stage.error = None
    assert (await read(reader, Emotion(text="sad"))).weights == tuple(SCORES)


async def test_a_recording_is_decoded_and_encoded_once(
    reader: EmotionReader,
    stage: Stage,
    recording: Callable[[int], bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[int] = []
    decode = emotions.decode_reference
    monkeypatch.setattr(
        emotions, "decode_reference", lambda data, **asked: decoded.append(len(data)) or decode(data, **asked)
    )
    data, other = recording(200), recording(300)
    together = await asyncio.gather(*(read(reader, Emotion(audio=data, alpha=0.5)) for _ in range(3)))
    await read(reader, Emotion(audio=bytes(bytearray(data))))
    assert len(decoded) == len(stage.jobs) == 1
    assert together[0].alpha == 0.5
    assert together[0].reference is not None
    assert together[0].reference.tolist() == [3.0] * DIM
    await read(reader, Emotion(audio=other))
    assert len(decoded) == len(stage.jobs) == 2


async def test_what_is_left_out_of_a_recording_is_said_each_time(reader: EmotionReader) -> None:
    file = io.BytesIO()
    tone = 0.3 * np.sin(np.arange(40 * 8_000) / 8)
    soundfile.write(file, tone, 8_000, format="WAV")
    for _ in range(2):
        reading = await read(reader, Emotion(audio=file.getvalue()))
        assert any(w.startswith("emotion: Of the recording of 40.0 s only") for w in reading.warnings)


async def test_a_recording_that_cannot_be_decoded_is_refused(reader: EmotionReader, stage: Stage) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        await read(reader, Emotion(audio=b"noise"))
    assert caught.value.param == "emotion"
    assert stage.jobs == []


async def test_the_matrix_is_asked_for_where_there_are_weights(reader: EmotionReader, stage: Stage) -> None:
    profile = VoiceProfile(
        {
            "speaker_emotion": np.zeros(DIM, np.float32),
            "reference_emotion": np.ones(DIM, np.float32),
            "style": np.ones(2, np.float32),
        }
    )
    plain = await reader.vector(EmotionReading(), profile, seed=1)
    assert (plain.tolist(), stage.matrices) == ([1.0] * DIM, 0)
    mixed = await reader.vector(EmotionReading(weights=tuple(SCORES)), profile, seed=1)
    assert stage.matrices == 1
    assert mixed.tolist() == [0.75 + 0.25] * DIM
    assert mixed.dtype == np.float32


@pytest.mark.parametrize(
    "emotion",
    [
        Emotion(text="sad", vector=(0.0,) * 8),
        Emotion(text=" "),
        Emotion(text="x" * 4097),
        Emotion(alpha=1.5),
        Emotion(random=True),
        Emotion(vector=(1.3,) + (0.0,) * 7),
    ],
)
async def test_senseless_emotions_are_refused(reader: EmotionReader, stage: Stage, emotion: Emotion) -> None:
    with pytest.raises(InvalidRequest):
        await read(reader, emotion)
    assert stage.jobs == []
