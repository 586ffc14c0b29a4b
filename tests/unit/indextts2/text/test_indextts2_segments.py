"""Segments of bounded length without words cut in two."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.indextts2.text.frontend import IndexTextFrontend
from deployments.indextts2.text.segments import split_at_words, split_tokens
from deployments.indextts2.text.tokenizer import WORD_START
from deployments.text.english.normalizer import normalize_english

WALK = (
    "we walked along the river for a long time and then we came to a small wooden bridge where an old fisherman was "
    "sitting with his grandson and a very tired dog that did not even lift its head when we passed them on our way to "
    "the village"
)
RIVER = "我们沿着河走了很久然后来到一座小木桥边那里有一位老渔夫和他的孙子坐着我们一共花了一千二百三十四块钱"
WORDS = st.lists(
    st.sampled_from(["▁and", "▁in", "▁the", "▁dog", "▁你", "▁和", "▁一", "x", "-", "▁-"]), max_size=120
)
MARKED = st.lists(
    st.sampled_from(["▁a", "▁and", "▁你", "b", "c", ",", "▁,", "-", ".", "▁.", "!", "'", "▁'", "▁", "▁?"]),
    max_size=120,
)


@pytest.fixture(scope="module")
def frontend(golden_front: Path) -> IndexTextFrontend:
    return IndexTextFrontend(golden_front / "ckpt" / "bpe.model", fst=lambda text, route: text)


def long_words(tokens: list[str]) -> int:
    """Tokens of the longest word."""
    longest = length = 0
    for token in tokens:
        length = 1 if token.startswith(WORD_START) else length + 1
        longest = max(longest, length)
    return longest


@settings(deadline=None)
@given(st.one_of(WORDS, MARKED), st.integers(1, 30), st.integers(0, 20))
def test_put_together_they_are_the_tokens_and_none_is_too_long(
    tokens: list[str], max_tokens: int, quick: int
) -> None:
    segments = split_at_words(tokens, max_tokens, quick)
    assert [token for segment in segments for token in segment] == tokens
    assert all(0 < len(segment) <= max_tokens for segment in segments)


@settings(deadline=None)
@given(st.one_of(WORDS, MARKED), st.integers(4, 30))
@example(["▁", "▁a", "b", "b", "b"], 4)  # nothing stands before the first word but its mark
@example(["▁a", "▁a", "▁a", "b", "b", "b", "b", "▁a", "b"], 6)  # three parts, where two would have room
def test_a_segment_begins_with_a_word(tokens: list[str], max_tokens: int) -> None:
    if long_words(tokens) <= max_tokens:
        assert all(segment[0].startswith(WORD_START) for segment in split_at_words(tokens, max_tokens)[1:])


@given(
    st.lists(st.sampled_from(["▁a ▁b ,", "▁a b ▁c .", "▁d ▁e !", "▁f -", "▁g ▁h ?"]), max_size=40),
    st.integers(4, 30),
)
def test_where_there_are_enough_marks_segments_are_the_published_ones(
    phrases: list[str], max_tokens: int
) -> None:
    tokens = " ".join(phrases).split()
    assert split_at_words(tokens, max_tokens) == split_tokens(tokens, max_tokens)


@pytest.mark.parametrize("max_tokens", [15, 20, 30, 60, 120])
def test_a_text_without_marks_is_cut_between_words(frontend: IndexTextFrontend, max_tokens: int) -> None:
    found = [segment.text for segment in frontend.iter_segments(WALK, max_tokens)]
    assert " ".join(found) == WALK.upper()
    lengths = [len(segment.ids) for segment in frontend.iter_segments(WALK, max_tokens)]
    assert max(lengths) <= max_tokens
    assert min(lengths) > max_tokens / 4


def test_cuts_are_at_conjunctions_near_the_middle(frontend: IndexTextFrontend) -> None:
    assert [segment.text.split()[0] for segment in frontend.iter_segments(WALK, 60)] == [
        "WE",
        "WHERE",
        "THAT",
    ]
    first, second = frontend.iter_segments("the cat sat on the mat and the dog lay by the door", 20)
    assert (first.text, second.text) == ("THE CAT SAT ON THE MAT", "AND THE DOG LAY BY THE DOOR")


@pytest.mark.parametrize("max_tokens", [15, 20, 30])
def test_chinese_is_cut_before_connectives_and_not_inside_numbers(
    frontend: IndexTextFrontend, max_tokens: int
) -> None:
    found = [segment.text.replace(" ", "") for segment in frontend.iter_segments(RIVER, max_tokens)]
    assert "".join(found) == RIVER
    assert any("一千二百三十四" in segment for segment in found)
    assert any(segment.startswith("然后") for segment in found)


def test_latin_words_within_chinese_stay_whole(frontend: IndexTextFrontend) -> None:
    text = "我们今天在公司里用ANTIDISESTABLISHMENT写了一个很长很长的程序" * 3
    segments = [segment.text for segment in frontend.iter_segments(text, 25)]
    assert sum("ANTIDISESTABLISHMENT" in segment for segment in segments) == 3


def test_only_a_word_that_is_too_long_is_cut(frontend: IndexTextFrontend) -> None:
    word = "pneumonoultramicroscopicsilicovolcanoconiosis" * 3
    found = [segment.text for segment in frontend.iter_segments(f"this is a {word} and that is not", 30)]
    assert found[0] == "THIS IS A"
    assert found[-1].endswith("AND THAT IS NOT")
    assert "".join(found).replace(" ", "") == f"thisisa{word}andthatisnot".upper()
    assert len(found) <= 6


@pytest.mark.parametrize(
    "text", ["a well-known e.g. example.com", "the v2.5, isn't it", "so 'that' is (this) one"]
)
def test_marks_inside_words_end_no_segment(frontend: IndexTextFrontend, text: str) -> None:
    for max_tokens in range(12, 20):
        found = [segment.text for segment in frontend.iter_segments(text, max_tokens)]
        assert " ".join(found).count(" ") == normalize_english(text).count(" ")


def test_the_published_cut_is_kept_where_it_is_asked_for(frontend: IndexTextFrontend) -> None:
    found = [list(segment.pieces) for segment in frontend.segments(WALK, 20)]
    assert found == split_tokens(frontend.tokens(WALK), 20)
    assert [len(pieces) for pieces in found[:4]] == [20, 1, 20, 1]
