from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.errors import InvalidRequest
from deployments.text.check import check_length, check_text
from deployments.text.language import detect_language


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "input_empty", "empty"),
        (" \n\t\u200b\ufeff", "input_empty", "empty"),
        ("x" * 101, "input_too_long", "101 characters; at most 100"),
        ("a\x00b", "invalid_character", "position 1"),
        ("ab\ud83d", "invalid_character", "U+D83D"),
        ("😀🎉", "input_not_speakable", "emoji"),
        ("...!? 。", "input_not_speakable", "only punctuation"),
        ("😀!", "input_not_speakable", "emoji, symbols and punctuation"),
    ],
)
def test_refuses_and_says_why(text: str, code: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says.replace("+", r"\+")) as caught:
        check_text(text, max_chars=100)
    assert (caught.value.param, caught.value.code, caught.value.status) == ("input", code, 400)


def test_cleans_controls_and_line_breaks() -> None:
    assert check_text(" a\tb\x07c\r\nd\re\u2028f\u200b ", max_chars=100) == "a b c\nd\ne\nf"


@given(st.text(max_size=120))
def test_result_is_clean_and_stable(text: str) -> None:
    try:
        cleaned = check_text(text, max_chars=100)
    except InvalidRequest:
        return
    assert cleaned == cleaned.strip() != ""
    assert check_text(cleaned, max_chars=100) == cleaned
    cleaned.encode()


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello", "en"),
        ("12345", "en"),
        ("The word 你好 means hello", "en"),
        ("你好", "zh"),
        ("我用Python写了3个script，耗时2.5小时", "zh"),
        ("こんにちは世界", "ja"),
        ("优の良品商店今天开业大家都来看看", "zh"),
        ("안녕하세요 hello", "ko"),
        ("Привет", "en"),
    ],
)
def test_detect_language(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    ("text", "audio_s"),
    [
        ("word " * 28, 10),
        ("你好" * 7, 3),
        ("7" * 14, 6),
        ("a" * 140, 60),
        ("$5 + 5%", 2.3),
        ("Großmutter", 0.7),
    ],
)
def test_how_long_a_text_takes_to_speak(text: str, audio_s: float) -> None:
    check_length(text, chars_per_s=14, longest_s=audio_s * 1.1)
    with pytest.raises(InvalidRequest, match="takes about") as caught:
        check_length(text, chars_per_s=14, longest_s=audio_s * 0.9)
    assert (caught.value.param, caught.value.code) == ("input", "input_too_long")
