from __future__ import annotations

import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.text.clauses import Boundary, split_clauses
from deployments.text.scripts import is_speakable
from deployments.text.segments import PAUSE_S, split_for_streaming

LONG = (
    "Dr. Smith said that the experiment which we carried out last week in the laboratory had finally"
    " produced a result that nobody had expected, and so we will repeat it in the autumn. "
)
FRAGMENTS = st.sampled_from(
    [
        *"ab.,!?;:'\"()-—…。，！？；：、“”（）《》 \n\t你好的の안😀é\u0301\u200d1",
        "Dr. ",
        "e.g. ",
        "3.5",
        "1,000",
        "... ",
        "\n\n",
        "U.S. ",
        *["https://a.com/x?y=1, ", "word ", "which ", "但是", "\u2028", "***", 'Why?" she '],
    ]
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(FRAGMENTS, max_size=120).map("".join))


def texts(text: str, **limits: float) -> list[str]:
    return [segment.text for segment in split_for_streaming(text, **limits)]  # type: ignore[arg-type]


def without_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(TEXTS, st.sampled_from([(8, 12, 200, 2.0), (1, 1, 20, 1.0), (3, 9, 40, 1.5)]))
@example("*** a", (8, 12, 200, 2.0))
@example("a" + "!" * 300 + "b", (8, 12, 200, 2.0))
def test_nothing_is_lost_doubled_or_moved(text: str, limits: tuple[int, int, int, float]) -> None:
    first_words, first_words_max, max_chars, growth = limits
    segments = split_for_streaming(
        text, first_words=first_words, first_words_max=first_words_max, max_chars=max_chars, growth=growth
    )
    if not is_speakable(text):
        assert segments == []
        return
    assert without_spaces("".join(segment.text for segment in segments)) == without_spaces(text)
    assert all(is_speakable(segment.text) and segment.text == segment.text.strip() for segment in segments)
    assert segments[-1].pause_after_s == 0
    assert all(segment.pause_after_s == PAUSE_S[segment.boundary] for segment in segments[:-1])


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["word", "longer", "which", "你好", "但是", "3.5", "x" * 50, "a,", "b.", "。"]),
        max_size=200,
    )
)
def test_no_segment_exceeds_the_limit(words: list[str]) -> None:
    for max_chars in (20, 60, 200):
        assert all(len(text) <= max_chars for text in texts(" ".join(words), max_chars=max_chars))


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["3.5", "1,000", "Dr. Smith", "e.g. this", "U.S. law", "a@b.co", "ftp://a.b/c,d", "12:30"]
        ),
        min_size=1,
    )
)
def test_numbers_abbreviations_and_addresses_stay_whole(words: list[str]) -> None:
    pieces = texts(", then ".join(words) + ".")
    for word in words:
        assert any(word in piece for piece in pieces)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello there my friend, I have a story to tell you about the sea.", "Hello there my friend,"),
        ("Yes, I think so, and we should go now.", "Yes, I think so,"),
        ("One two three four five six seven eight nine ten eleven twelve.",) * 2,
        (LONG, "Dr. Smith said that the experiment"),
        ("从前有一座城市，城市里有一条河。", "从前有一座城市，"),
        ("Hello! The rest of this text follows after that.", "Hello!"),
    ],
)
def test_first_segment(text: str, first: str) -> None:
    assert texts(text)[0] == first


def test_first_words_max_decides_when_a_clause_is_cut() -> None:
    sentence = "She opened the door and looked at the sea for a while."
    assert texts(sentence) == [sentence]
    assert texts(sentence, first_words=4, first_words_max=8) == [
        "She opened the door",
        "and looked at the sea for a while.",
    ]


def test_later_segments_grow_and_hold_whole_sentences() -> None:
    segments = split_for_streaming("Short one. " + "This is a sentence of middle length, is it not? " * 12)
    lengths = [len(segment.text) for segment in segments]
    assert lengths[0] < lengths[1] < max(lengths) <= 200
    assert all(segment.boundary >= Boundary.SENTENCE for segment in segments)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('He said "Stop!" Then (after that) he left.', ['He said "Stop!"', "Then (after that) he left."]),
        ("“Is it really you?” she asked.", ["“Is it really you?”", "she asked."]),
        ("Wait here ... and then go.", ["Wait here ...", "and then go."]),
        ("他说：“你好。”然后走了。", ["他说：", "“你好。”", "然后走了。"]),
        ("No. 5 is it. No. I go.", ["No. 5 is it.", "No.", "I go."]),
        ("Buy 1,000 of 3.5 now; then rest.", ["Buy 1,000 of 3.5 now;", "then rest."]),
        ("我有1，000元和12：30的车。好", ["我有1，000元和12：30的车。", "好"]),
    ],
)
def test_clauses(text: str, pieces: list[str]) -> None:
    assert [clause.text.strip() for clause in split_clauses(text)] == pieces


def test_boundaries_and_pauses() -> None:
    segments = split_for_streaming(
        "A title\n\nFirst clause here, " + "then the second clause follows on; " * 4 + "done."
    )
    assert segments[0] == type(segments[0])("A title", Boundary.PARAGRAPH, PAUSE_S[Boundary.PARAGRAPH])
    assert Boundary.CLAUSE in {segment.boundary for segment in segments}
    assert list(PAUSE_S.values()) == sorted(PAUSE_S.values())


def test_wrapped_lines_are_one_paragraph() -> None:
    assert texts("A wrapped\nline goes on.\n1. Milk\n2. Eggs") == [
        "A wrapped line goes on.",
        "1. Milk",
        "2. Eggs",
    ]


def test_limits_must_make_sense() -> None:
    with pytest.raises(ValueError, match="first_words"):
        split_for_streaming("text", first_words=9, first_words_max=8)


@pytest.mark.parametrize(
    "text",
    [LONG, "从前有一座城市，城市里有一条河。", "清晨的阳光照进窗台又睡着了", "word ", "a. ", '("', "-. "],
)
def test_time_is_linear(text: str) -> None:
    text = text * (20_000 // len(text))
    started = time.perf_counter()
    split_for_streaming(text)
    assert time.perf_counter() - started < 1.0  # 0.02 s on an idle core
