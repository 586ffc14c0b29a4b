"""VoxCPM's tokenizer and text rules against the golden data."""

from __future__ import annotations

from pathlib import Path

import pytest
from golden_voxcpm import VERSIONS, GoldenVoxCPM

from deployments.voxcpm.text.tokenizer import prepared


@pytest.fixture(scope="module", params=VERSIONS)
def known(request: pytest.FixtureRequest, golden: Path) -> GoldenVoxCPM:
    return GoldenVoxCPM(golden / "voxcpm" / request.param)


def test_tokens_and_ids(known: GoldenVoxCPM) -> None:
    tokenizer = known.checkpoint.tokenizer
    cases = known.about["tokenizer"]
    assert [tokenizer.tokens(case["text"]) for case in cases] == [case["tokens"] for case in cases]
    assert [tokenizer.encode(case["text"]) for case in cases] == [case["ids"] for case in cases]


def test_transcript_and_text_are_tokenised_as_one(known: GoldenVoxCPM) -> None:
    for case in known.names:
        kwargs = known.about["cases"][case]["kwargs"]
        text = kwargs.get("prompt_text", "") + kwargs["text"]
        assert tuple(known.checkpoint.tokenizer.encode(text)) == known.job(case).text_ids


def test_marks_within_a_text_are_text(known: GoldenVoxCPM) -> None:
    tokenizer = known.checkpoint.tokenizer
    for mark in ("<|audio_start|>", "<|audio_prompt_start|>", "<|audio_prompt_end|>", "</s>", "<s>"):
        ids = tokenizer.encode(f"hello {mark} world")
        assert not {1, 2, 101, 102, 103, 104} & set(ids), mark


def test_an_empty_text_has_no_ids(known: GoldenVoxCPM) -> None:
    assert known.checkpoint.tokenizer.encode("") == []


@pytest.mark.parametrize(
    ("text", "expected"), [("  a\n\tb  c \n", "a b c"), ("", ""), ("你好\u3000世界", "你好 世界")]
)
def test_a_text_is_one_line_without_ends(text: str, expected: str) -> None:
    assert prepared(text) == expected
