"""The text front end of IndexTTS-2.5 against the golden cases of the published one (indextts2.5-delta.md 2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployments.indextts2.text.byte_tokenizer import ByteTokenizer
from deployments.indextts2.text.japanese import JapaneseWords
from deployments.indextts2.text.languages import language_id
from deployments.indextts2.text.multilingual import MultilingualFrontend
from deployments.indextts2.text.normalizer import Normalizer
from deployments.indextts2.text.published_reading import PublishedReader

VOCABULARY = Path("checkpoint") / "multilingual_zh_ja_yue_char_del.tiktoken"


@pytest.fixture(scope="module")
def directory(golden: Path) -> Path:
    return golden / "indextts2.5"


@pytest.fixture(scope="module")
def recorded(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "tokenizer_cases.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cases(recorded: dict[str, Any]) -> list[dict[str, Any]]:
    """All of them; those in Japanese where the packages of the extra are installed."""
    assert recorded["cases"]
    return [case for case in recorded["cases"] if case["lang"] != "ja" or JapaneseWords.installed()]


@pytest.fixture(scope="module")
def frontend(directory: Path, recorded: dict[str, Any]) -> MultilingualFrontend:
    return MultilingualFrontend(directory / VOCABULARY, recorded["text_position_rows"] - 2)


def test_vocabulary_and_special_tokens(directory: Path, recorded: dict[str, Any]) -> None:
    tokenizer = ByteTokenizer(directory / VOCABULARY)
    assert tokenizer.vocab_size == recorded["n_vocab"]
    for tag, id_ in recorded["special_ids"].items():
        assert tokenizer.special_ids[tag] == id_, tag
        assert tokenizer.encode(tag) == [id_], tag
    assert len(tokenizer.special_ids) + len(set(tokenizer.special_ids.values())) == 2 * (
        recorded["n_vocab"] - 58_836
    )


def test_language_rows(recorded: dict[str, Any]) -> None:
    assert recorded["lang_ids"]
    for language, row in recorded["lang_ids"].items():
        assert language_id(language.lower()) == row, language


def test_text_as_it_is_read(cases: list[dict[str, Any]]) -> None:
    reader = PublishedReader(Normalizer(), JapaneseWords())
    for case in cases:
        read = reader.read(case["text"], case["lang"].lower(), normalized=case["text_normalization"])
        assert read == case["processed"], case["text"]


def test_segments_and_ids(cases: list[dict[str, Any]], frontend: MultilingualFrontend) -> None:
    for case in cases:
        segments = frontend.cut(case["processed"], case["max_text_tokens_per_segment"], language=case["lang"])
        assert [segment.pieces for segment in segments] == [(text,) for text in case["segments"]], case[
            "text"
        ]
        assert [list(segment.ids) for segment in segments] == case["ids"], case["text"]
        assert {segment.language_id for segment in segments} == {case["lang_id"]}, case["text"]


def test_the_whole_way(cases: list[dict[str, Any]], frontend: MultilingualFrontend) -> None:
    for case in cases:
        if case["text_normalization"]:
            most = case["max_text_tokens_per_segment"]
            segments = frontend.published(case["text"], most, language=case["lang"])
            assert [list(segment.ids) for segment in segments] == case["ids"], case["text"]
