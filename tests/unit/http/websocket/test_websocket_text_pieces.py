"""Pieces of a text that still arrives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.http.websocket.text_pieces import Granularity, TextPieces

WORDS = ["Hello", "Dr", "I", "we", "3", "14", "etc", "OK", "Ünal", "你好", "世界", "a.m", "U.S", "😀"]
MARKS = [
    ". ",
    "! ",
    "? ",
    ", ",
    "; ",
    ": ",
    "...",
    "… ",
    "。",
    "，",
    '"',
    "'",
    " (",
    ") ",
    "《",
    "》",
    " - ",
    "\n",
    "\n\n",
]
TEXTS = st.lists(st.sampled_from([*WORDS, *MARKS, " ", " ", " "]), max_size=60).map("".join)


def pieces(text: str, granularity: Granularity, cuts: list[int] | None = None) -> list[tuple[str, float]]:
    gatherer = TextPieces(granularity)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts or []), len(text)]
    found = [piece for a, b in pairwise(places) for piece in gatherer.add(text[a:b])]
    return [(piece.text, piece.pause_after_s) for piece in [*found, *gatherer.finish()]]


@pytest.mark.slow
@given(TEXTS, st.lists(st.integers(0, 200), max_size=40), st.sampled_from(["none", "sentence", "clause"]))
@settings(deadline=None, max_examples=400)
def test_how_the_text_is_cut_on_arrival_changes_nothing(
    text: str, cuts: list[int], granularity: Granularity
) -> None:
    assert pieces(text, granularity, cuts) == pieces(text, granularity)


@given(TEXTS)
@settings(deadline=None, max_examples=100)
def test_letter_by_letter(text: str) -> None:
    assert pieces(text, "clause", list(range(len(text)))) == pieces(text, "clause")


@given(TEXTS, st.sampled_from(["none", "sentence", "clause"]))
@settings(deadline=None, max_examples=200)
def test_nothing_that_can_be_spoken_is_lost(text: str, granularity: Granularity) -> None:
    spoken = "".join(piece for piece, _ in pieces(text, granularity))
    assert [char for char in spoken if char.isalnum()] == [char for char in text if char.isalnum()]
    assert all(any(char.isalnum() for char in piece) for piece, _ in pieces(text, granularity))


@pytest.mark.parametrize(
    ("granularity", "text", "expected"),
    [
        ("sentence", "Hello there. How are", ["Hello there."]),
        ("sentence", "Hello there.", []),
        ("sentence", "Dr. Smith paid 3.14 dollars, or so", []),
        ("sentence", "First, one. Second (e.g. this one. Or", ["First, one."]),
        ("sentence", "你好。今天天气", ["你好。"]),
        ("sentence", "A heading\nThe text", ["A heading"]),
        ("sentence", "wrapped\nby an editor", []),
        ("clause", "Well, I think that is right, but", ["Well, I think that is right,"]),
        ("clause", "Yes! And", ["Yes!"]),
        ("none", "One. Two. Three.", []),
    ],
)
def test_what_is_certain_is_given_at_once(granularity: Granularity, text: str, expected: list[str]) -> None:
    assert [piece.text for piece in TextPieces(granularity).add(text)] == expected


def test_pauses_follow_the_marks() -> None:
    found = pieces("One two three, four five six. Seven.\nEight.", "clause")
    assert found == [("One two three,", 0.12), ("four five six.", 0.3), ("Seven.", 0.6), ("Eight.", 0.6)]


def test_none_keeps_the_text_as_it_is() -> None:
    assert pieces(" One.\nTwo.  ", "none") == [(" One.\nTwo.  ", 0.0)]
