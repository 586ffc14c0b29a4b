from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deployments.text.clauses import Boundary
from deployments.text.cuts import LEAST_WIDTH, PAUSE_S, TORN, Cut, CutText
from deployments.text.scripts import is_speakable, spoken_width

FRAGMENTS = st.sampled_from(
    [
        *"ab.,!?;:'\"()-—…。，！？ \n\t你好的の😀é\u0301\u200d1",
        *["Dr. ", "3.5", "\n\n", "word ", "which ", "and then ", "但是", "***", "- " * 9, "!" * 30, "b" * 70],
    ]
)
ANY = st.characters(exclude_categories=["Cs", "Co"])  # private characters may be pauses, which no piece holds
TEXTS = st.one_of(st.text(ANY, max_size=300), st.lists(FRAGMENTS, max_size=120).map("".join))
PLAIN = st.lists(
    st.sampled_from(["word", "which", "你好", "但是", "3.5", "x" * 50, "a,", "b.", "。", "\n\n"]),
    max_size=200,
)


def pieces(text: CutText, cuts: list[Cut] | None = None) -> list[str]:
    ends = text.cuts if cuts is None else cuts
    return [text.piece(begin, end).text for begin, end in zip([None, *ends], ends, strict=False)]


def without_spaces(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.sampled_from([20, 60, 200]), st.randoms(use_true_random=False))
@example("a" + "!" * 500 + "b", 200, None)
@example("word and" + " -" * 20 + " word", 200, None)
@example("!" * 300 + "b" * 500, 200, None)
def test_pieces_between_any_cuts_are_the_text_and_can_be_spoken(
    text: str, max_chars: int, draws: object
) -> None:
    cut = CutText(text, max_chars=max_chars)
    if not is_speakable(text):
        assert cut.cuts == []
        assert cut.width == 0
        return
    chosen = [each for each in cut.cuts[:-1] if draws is None or draws.random() < 0.5]  # type: ignore[attr-defined]
    for ends in (cut.cuts, [*chosen, cut.cuts[-1]]):
        found = pieces(cut, ends)
        assert without_spaces("".join(found)) == without_spaces(text)
        assert all(is_speakable(piece) and piece == piece.strip() for piece in found)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_widths_grow_from_cut_to_cut(text: str) -> None:
    cut = CutText(text, max_chars=60)
    widths = [each.width for each in cut.cuts]
    assert widths == sorted(set(widths))
    for index, width in enumerate(widths):
        assert cut.after(width) == index + 1
        assert cut.after(width - 1) == index


@settings(deadline=None)
@given(PLAIN)
@example(["a" * 4096])
@example(["你" * 4096])
@example(["and"] * 1000)
@example(["a" * 4096, "b" * 190, "c" * 20])
def test_neighbouring_cuts_are_no_further_apart_than_the_limit(words: list[str]) -> None:
    for max_chars in (20, 60, 200):
        cut = CutText(" ".join(words), max_chars=max_chars)
        assert all(len(piece) <= max_chars for piece in pieces(cut))


def test_a_word_of_any_length_is_torn_into_equal_parts() -> None:
    cut = CutText("a" * 4096, max_chars=200)
    assert [each.chars for each in cut.cuts] == [*range(200, 4096, 200), 4096]
    assert {each.rank for each in cut.cuts[:-1]} == {TORN}


def test_an_accent_or_a_joined_emoji_is_never_torn_off() -> None:
    for text in ("e\u0301" * 300, "x" * 199 + "e\u0301" * 50, "ab" + "👩\u200d🔬" * 100 + "c"):
        assert all(piece[0] not in "\u0301\u200d" for piece in pieces(CutText(text, max_chars=200)))


@pytest.mark.parametrize("text", ["", "   ", "***", "...!?", "😀 — 😀", "\n\n-\n\n"])
def test_a_text_without_letters_has_no_cuts(text: str) -> None:
    assert CutText(text, max_chars=200).cuts == []


def test_chinese_is_cut_between_characters_and_is_three_times_as_wide() -> None:
    text = "清晨的阳光照进窗台又睡着了但是没有人知道"
    cut = CutText(text, max_chars=200)
    assert cut.width == spoken_width(text) == 3 * len(text)
    assert min(cut.cuts, key=lambda each: each.rank).chars == text.index("但是")
    tight = [each.rank for each in cut.cuts if text[each.chars : each.chars + 1] in {"的", "着", "了"}]
    assert set(tight) <= {TORN}


def test_a_paragraph_ends_with_a_cut_and_its_pause() -> None:
    cut = CutText("A title\n\nOne sentence is here. And, well, another one.\n***\nThe end", max_chars=200)
    ends = [each for each in cut.cuts if each.boundary > Boundary.NONE]
    assert pieces(cut, ends) == [
        "A title",
        "One sentence is here.",
        "And,",
        "well,",
        "another one. ***",
        "The end",
    ]
    named = ["PARAGRAPH", "SENTENCE", "COMMA", "COMMA", "PARAGRAPH", "PARAGRAPH"]
    assert [each.boundary.name for each in ends] == named
    assert [cut.pause_s(each) for each in ends] == [*(PAUSE_S[each.boundary] for each in ends[:-1]), 0.0]
    assert cut.piece(None, ends[-1]).pause_after_s == 0


def test_no_cut_is_near_the_ends_of_a_clause() -> None:
    text = "I am the one who was here when you left, and so am I."
    cut = CutText(text, max_chars=200)
    clauses = [each.width for each in cut.cuts if each.boundary > Boundary.NONE]
    inside = [each.width for each in cut.cuts if each.boundary is Boundary.NONE]
    assert inside
    assert min(abs(place - end) for place in inside for end in [0, *clauses]) >= LEAST_WIDTH


def test_conjunctions_are_the_best_places_inside_a_clause() -> None:
    cut = CutText("The old man walked to the harbour because the ferry was late", max_chars=200)
    ranks = {cut.piece(None, each).text.split()[-1]: each.rank for each in cut.cuts[:-1]}
    assert ranks["harbour"] == 0
    assert ranks["walked"] == 1
    assert ranks["the"] == TORN
