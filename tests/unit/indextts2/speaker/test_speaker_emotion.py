"""Emotion weights, random rows and the classifier's edges, without golden data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_qwen import write_qwen

from deployments.core.errors import CheckpointError, DeadlineExceeded, InvalidRequest
from deployments.indextts2.speaker import emotion_classifier
from deployments.indextts2.speaker.emotion import (
    EMOTIONS,
    EmotionMatrix,
    merge,
    normalize_weights,
    scale_weights,
)
from deployments.indextts2.speaker.emotion_classifier import (
    EmotionClassifier,
    after_thinking,
    parse_scores,
)

ROWS = (3, 1, 2, 4, 1, 2, 5, 6)
STYLE = 12


@pytest.fixture
def matrix() -> EmotionMatrix:
    random = np.random.default_rng(2)
    return EmotionMatrix(
        random.normal(size=(sum(ROWS), STYLE)).astype(np.float32),
        random.normal(size=(sum(ROWS), 16)).astype(np.float32),
        ROWS,
    )


def test_random_rows_are_a_function_of_the_seed(matrix: EmotionMatrix) -> None:
    assert matrix.random_rows(7) == matrix.random_rows(7)
    drawn = np.array([matrix.random_rows(seed) for seed in range(300)])
    assert (drawn >= 0).all()
    assert [set(column) for column in drawn.T] == [set(range(count)) for count in ROWS]


def test_nearest_row_is_the_speaker_itself(matrix: EmotionMatrix) -> None:
    rows = matrix.nearest_rows(5 * matrix.keys[3 + 1 + 1])
    assert rows[2] == 1
    assert all(row < count for row, count in zip(rows, ROWS, strict=True))


def test_silent_style_has_rows_too(matrix: EmotionMatrix) -> None:
    assert matrix.nearest_rows(np.zeros(STYLE, np.float32)) == [0] * len(EMOTIONS)


def test_no_weight_leaves_the_audio_and_weights_above_one_subtract(matrix: EmotionMatrix) -> None:
    audio = np.ones(16, np.float32)
    rows = matrix.random_rows(0)
    assert np.array_equal(matrix.mix([0.0] * 8, rows, audio), audio)
    weights = [1.0, 0.5, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(
        matrix.mix(weights, rows, audio), matrix.vector(weights, rows) - 0.5, atol=1e-6
    )


def test_matrices_must_fit_the_row_counts(matrix: EmotionMatrix) -> None:
    with pytest.raises(ValueError, match="emo_num"):
        EmotionMatrix(matrix.keys, matrix.values, (*ROWS[:-1], 9))


def test_alpha_of_a_merge_is_not_clamped() -> None:
    speaker, reference = np.zeros(2, np.float32), np.ones(2, np.float32)
    assert merge(speaker, reference, 1.5).tolist() == [1.5, 1.5]
    assert merge(speaker, reference, 1.5).dtype == np.float32


@pytest.mark.parametrize("weights", [[0.1] * 7, [0.1] * 9, [-0.1] + [0.0] * 7, [float("nan")] + [0.0] * 7])
def test_bad_weights_are_refused(weights: list[float], matrix: EmotionMatrix) -> None:
    for use in (
        normalize_weights,
        lambda w: scale_weights(w, 0.5),
        lambda w: matrix.mix(w, [0] * 8, np.ones(16)),
    ):
        with pytest.raises(InvalidRequest, match="happy, angry"):
            use(weights)


def test_gloom_swap_does_not_change_other_texts() -> None:
    answer = '{"悲伤": 0.7, "低落": 0.1}'
    assert parse_scores("a rainy day", answer)[2] == 0.7
    assert parse_scores("a GLOOMY day", answer)[2] == 0.1


def test_thinking_without_mark_is_kept() -> None:
    assert after_thinking([]) == []


def test_absent_classifier_names_the_command(tmp_path: Path) -> None:
    for folder in (None, tmp_path / "qwen"):
        with pytest.raises(CheckpointError, match="voicegraph models pull indextts2"):
            EmotionClassifier(folder).scores("hello")


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen(tmp_path_factory.mktemp("qwen"))


def test_classifier_reads_what_the_model_writes(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path from text to answer works, whatever the model answers before it ends."""
    classifier = EmotionClassifier(untrained)
    generate = classifier._load()[1].generate
    ended = {"min_new_tokens": 3, "max_new_tokens": 3}
    monkeypatch.setattr(classifier._load()[1], "generate", lambda **asked: generate(**asked | ended))
    assert isinstance(classifier.answer("a b"), str)
    assert classifier.answer("a b") == classifier.answer("a b")
    assert len(classifier.scores("a b")) == len(EMOTIONS)


def test_an_answer_without_an_end_is_refused(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion_classifier, "MAX_NEW_TOKENS", 4)
    classifier = EmotionClassifier(untrained)
    generate = classifier._load()[1].generate
    monkeypatch.setattr(
        classifier._load()[1], "generate", lambda **asked: generate(**asked | {"min_new_tokens": 4})
    )
    with pytest.raises(ValueError, match="no end within 4 tokens"):
        classifier.scores("a b")


def test_classifier_stops_when_nobody_wants_the_answer(
    untrained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = EmotionClassifier(untrained)
    generate = classifier._load()[1].generate
    monkeypatch.setattr(
        classifier._load()[1], "generate", lambda **asked: generate(**asked | {"min_new_tokens": 200})
    )
    looks = iter([True, True, True, *[False] * 10])
    asked = 0

    def wanted() -> bool:
        nonlocal asked
        asked += 1
        return next(looks)

    with pytest.raises(DeadlineExceeded):
        classifier.answer("a b", wanted)
    assert asked == 5, "once per token, and when it has stopped"
