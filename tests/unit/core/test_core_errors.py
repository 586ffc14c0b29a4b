"""Errors and the nouns of deployments/core/speech.py cross processes whole."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from deployments.core import errors
from deployments.core.errors import InvalidRequest, Overloaded, SpeechError, Unavailable
from deployments.core.speech import (
    AudioChunk,
    Emotion,
    ModelCard,
    SpeechRequest,
    StreamEnd,
    StreamStart,
    Voice,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SpeechError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_keeps_its_fields(kind: type[SpeechError], clone: object) -> None:
    error = kind("what was wrong", param="input", code="special", retry_after_s=1.5)
    again = clone(error)  # type: ignore[operator]
    assert type(again) is kind
    assert (again.message, again.param, again.code, again.retry_after_s) == (
        "what was wrong",
        "input",
        "special",
        1.5,
    )
    assert str(again) == "what was wrong"
    assert (again.status, again.type) == (kind.status, kind.type)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_status_and_a_code_of_its_own(kind: type[SpeechError]) -> None:
    assert 400 <= kind.status < 600
    assert kind("x").code == kind.default_code
    assert kind.type == ("server_error" if kind.status >= 500 else kind.type) != ""


def test_statuses() -> None:
    assert (InvalidRequest.status, Overloaded.status, Unavailable.status) == (400, 429, 503)


@pytest.mark.parametrize(
    "noun",
    [
        SpeechRequest("id", "text", emotion=Emotion(vector=(0.0,) * 8), knobs={"top_k": 3}),
        StreamStart("m", "v", 24_000, "r", ignored=("seed",)),
        StreamEnd(1.0, {"gpt": 0.5}, ("w",)),
        Voice("id", "Name", "m", "en", aliases=("a",)),
        ModelCard("m", "k", 24_000, ("en",), "v"),
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
