"""The stage without Ray: one bad recording fails alone, versions follow the files, texts are read once and given up."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from tiny_indextts import make_tiny_checkpoint

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import DeadlineExceeded, InvalidRequest
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import SpeakerSettings
from deployments.indextts2.speaker.deployment import Speaker
from deployments.indextts2.speaker.encoder import profile_version
from deployments.indextts2.speaker.job import EmotionAudioJob, EmotionTextJob, EncodeJob
from deployments.voices.reference import ReferenceAudio
from deployments.weights.manifest import ManifestEntry, file_sha256, write_manifest


@pytest.fixture(scope="module")
def checkpoint(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> IndexTTSCheckpoint:
    return IndexTTSCheckpoint(make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), golden))


@pytest.fixture(scope="module")
def reference(golden_front: Path) -> ReferenceAudio:
    samples, rate = soundfile.read(golden_front / "ref_spk_24k_mono.wav", dtype="float32")
    return ReferenceAudio.from_samples(samples, rate)


async def started(checkpoint: IndexTTSCheckpoint, **settings: Any) -> Speaker:
    stage = Speaker.__new__(Speaker)
    await stage.__init__(str(checkpoint.directory), "cpu", SpeakerSettings(**settings))  # type: ignore[misc]
    return stage


@pytest.fixture
async def stage(checkpoint: IndexTTSCheckpoint) -> Speaker:
    return await started(checkpoint, batch_wait_s=0.05)


TOO_SHORT = ReferenceAudio.from_samples(np.full(800, 0.1, np.float32), 16_000)


def encode_job(recording: ReferenceAudio) -> EncodeJob:
    return EncodeJob("test", recording)


@pytest.mark.slow
async def test_one_bad_recording_fails_alone(stage: Speaker, reference: ReferenceAudio) -> None:
    jobs = [encode_job(recording) for recording in (reference, TOO_SHORT, reference)]
    first, bad, last = await asyncio.gather(*map(stage.encode, jobs), return_exceptions=True)
    assert isinstance(bad, InvalidRequest)
    assert "0.05 s" in bad.message
    alone = (await stage.encode(jobs[0])).value.profile
    for reply in (first, last):
        assert not isinstance(reply, BaseException)
        profile = reply.value.profile
        assert profile.arrays.keys() == alone.arrays.keys()
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(profile[name], array)
    vectors = await asyncio.gather(
        stage.emotion_vector(EmotionAudioJob("test", TOO_SHORT)),
        stage.emotion_vector(EmotionAudioJob("test", reference)),
        return_exceptions=True,
    )
    assert isinstance(vectors[0], InvalidRequest)
    assert vectors[0].param == "emotion"
    np.testing.assert_array_equal(vectors[1].value, alone["reference_emotion"])


@pytest.mark.slow
async def test_what_the_pipeline_asks_once(stage: Speaker, checkpoint: IndexTTSCheckpoint) -> None:
    assert await stage.ready()
    matrix = (await stage.emotion_matrix()).value
    assert matrix.values.shape[1] == checkpoint.gpt_dims.model_dim
    version = await stage.model_version()
    assert version.value == profile_version(checkpoint, "float32")
    assert version.metrics.replica


@pytest.mark.slow
async def test_recordings_share_batches_and_replies_say_so(
    checkpoint: IndexTTSCheckpoint, reference: ReferenceAudio
) -> None:
    stage = await started(checkpoint, max_batch=2, batch_wait_s=5.0)
    replies = await asyncio.gather(*(stage.encode(encode_job(reference)) for _ in range(4)))
    metrics = (await stage.model_version()).metrics
    assert (metrics.steps, metrics.rows_stepped, metrics.finished, metrics.rows) == (2, 4, 4, 2)
    assert replies[0].metrics.rows == 2
    alone = await started(checkpoint, max_batch=1, batch_wait_s=60.0)  # of company there is none to wait for
    await alone.encode(encode_job(reference))


@pytest.mark.slow
async def test_an_emotion_recording_is_encoded_once(
    stage: Speaker, reference: ReferenceAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = stage._encoder.encode_emotion
    monkeypatch.setattr(
        stage._encoder, "encode_emotion", lambda recordings: encoded.append(1) or encode(recordings)
    )
    vectors = [(await stage.emotion_vector(EmotionAudioJob("test", reference))).value for _ in range(3)]
    assert encoded == [1]
    assert np.array_equal(vectors[0], vectors[2])


@pytest.mark.slow
async def test_a_device_that_is_lost_fails_the_health_check(
    stage: Speaker, reference: ReferenceAudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(recordings: object) -> list[Any]:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(stage._encoder, "encode", fail)
    with pytest.raises(RuntimeError, match="device-side"):
        await stage.encode(encode_job(reference))
    stage.check_health()  # a CPU survives what one recording does
    monkeypatch.setattr(stage._recordings, "_probe", lambda: fail([]))
    with pytest.raises(RuntimeError, match="device-side"):
        await stage.encode(encode_job(reference))
    with pytest.raises(Exception, match="the device has failed"):
        stage.check_health()


class Classifier:
    """Stands for the language model: looks whether it is wanted, as that one does before each token."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.given_up: list[str] = []
        self.busy = threading.Event()
        self.go_on = threading.Event()

    def scores(self, text: str, wanted: Callable[[], bool]) -> list[float]:
        self.read.append(text)
        self.busy.set()
        while not self.go_on.wait(0.002):
            if not wanted():
                self.given_up.append(text)
                raise DeadlineExceeded("given up")
        if "unclear" in text:
            raise ValueError("nothing")
        return [float(len(text))] + [0.0] * 7


@pytest.fixture
def classifier(stage: Speaker, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    classifier = Classifier()
    monkeypatch.setattr(stage, "_classifier", classifier)
    return classifier


def text_job(text: str, deadline: Deadline = NEVER) -> EmotionTextJob:
    return EmotionTextJob("test", text, deadline=deadline)


async def until(event: threading.Event) -> None:
    while not event.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.slow
async def test_a_text_is_read_once(stage: Speaker, classifier: Classifier) -> None:
    together = [asyncio.create_task(stage.emotion_scores(text_job("sad"))) for _ in range(3)]
    await until(classifier.busy)
    classifier.go_on.set()
    replies = [*await asyncio.gather(*together), await stage.emotion_scores(text_job("sad"))]
    assert classifier.read == ["sad"]
    assert [reply.value[0] for reply in replies] == [3.0] * 4
    assert replies[0].metrics.replica.endswith("/texts")


@pytest.mark.slow
async def test_reading_stops_when_the_caller_leaves(stage: Speaker, classifier: Classifier) -> None:
    leaving = asyncio.create_task(stage.emotion_scores(text_job("never mind")))
    await until(classifier.busy)
    waiting = asyncio.create_task(stage.emotion_scores(text_job("glad")))
    leaving.cancel()
    while not classifier.given_up:
        await asyncio.sleep(0.001)
    classifier.go_on.set()
    assert (await waiting).value[0] == 4.0
    assert classifier.given_up == ["never mind"]


@pytest.mark.slow
async def test_reading_stops_at_the_deadline(stage: Speaker, classifier: Classifier) -> None:
    with pytest.raises(DeadlineExceeded):
        await stage.emotion_scores(text_job("slow", Deadline.after(0.05)))
    assert classifier.given_up == ["slow"]
    with pytest.raises(DeadlineExceeded):
        await stage.emotion_scores(text_job("late", Deadline.after(-1)))


@pytest.mark.slow
async def test_texts_do_not_hold_up_recordings(
    stage: Speaker, classifier: Classifier, reference: ReferenceAudio
) -> None:
    reading = asyncio.create_task(stage.emotion_scores(text_job("long")))
    await until(classifier.busy)
    await stage.encode(encode_job(reference))
    assert not reading.done()
    classifier.go_on.set()
    await reading


async def test_a_text_that_says_nothing_is_the_clients_error(stage: Speaker, classifier: Classifier) -> None:
    classifier.go_on.set()
    with pytest.raises(InvalidRequest, match="word it differently") as caught:
        await stage.emotion_scores(text_job("unclear"))
    assert caught.value.code == "emotion_text_unclear"


async def test_classifier_that_is_not_installed_is_the_clients_error(stage: Speaker) -> None:
    with pytest.raises(InvalidRequest, match=r"qwen0\.6bemo4-merge") as caught:
        await stage.emotion_scores(text_job("very happy"))
    assert (caught.value.status, caught.value.code) == (400, "emotion_text_unavailable")


def test_version_follows_files_config_and_dtype(golden: Path, tmp_path: Path) -> None:
    directory = make_tiny_checkpoint(tmp_path, golden)
    weights = directory / "gpt.pth"

    def version(dtype: str = "float32") -> str:
        return profile_version(IndexTTSCheckpoint(directory), dtype)

    first = version()
    assert first == version()
    assert first != version("float16")
    (directory / "s2mel.pth").touch()  # no part of a profile comes from it
    assert first == version()
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1000))
    changed = version()
    assert changed != first

    entry = ManifestEntry("local", "", weights.stat().st_size, file_sha256(weights))
    write_manifest(directory, "indextts2", {"gpt.pth": entry})
    recorded = version()
    assert recorded != changed
    os.utime(weights, (0, 0))  # another machine's copy of the same file
    assert recorded == version()
    with weights.open("ab") as file:
        file.write(b"x")
    grown = version()
    assert recorded != grown

    config = directory / "config.yaml"
    config.write_text(config.read_text() + "semantic_layer: 16\n")
    assert grown != version()
