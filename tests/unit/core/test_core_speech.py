"""The nouns of a request and its answer cross processes whole."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from deployments.core.deadline import NEVER, Deadline
from deployments.core.errors import Overloaded
from deployments.core.speech import AudioChunk, Emotion, SpeechRequest, StreamEnd, StreamFailed, StreamStart


@pytest.mark.parametrize(
    "noun",
    [
        SpeechRequest("id", "text", emotion=Emotion(vector=(0.0,) * 8), params={"top_k": 3, "warm": True}),
        StreamStart("m", "v", 24_000, "r", ignored=("seed",)),
        StreamEnd(1.0, {"gpt": 0.5}, ("w",)),
    ],
)
def test_nouns_survive_pickling(noun: object) -> None:
    assert pickle.loads(pickle.dumps(noun)) == noun


def test_audio_survives_pickling() -> None:
    chunk = AudioChunk(np.arange(5, dtype=np.float32), 3)
    again: AudioChunk = pickle.loads(pickle.dumps(chunk))
    assert np.array_equal(again.samples, chunk.samples)
    assert again.samples.dtype == np.float32
    assert again.segment == 3


def test_a_failure_survives_pickling() -> None:
    again: StreamFailed = pickle.loads(pickle.dumps(StreamFailed(Overloaded("full", retry_after_s=2))))
    assert (type(again.error), again.error.message, again.error.retry_after_s) == (Overloaded, "full", 2)


def test_a_request_carries_its_deadline() -> None:
    request = SpeechRequest("id", "text", deadline=Deadline.after(100))
    assert pickle.loads(pickle.dumps(request)).deadline.left_s == pytest.approx(100, abs=20)
    assert SpeechRequest("id", "text").deadline is NEVER


def test_nouns_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        SpeechRequest("id", "text").text = "other"  # type: ignore[misc]
