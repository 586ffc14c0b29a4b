"""Pauses that a text asks for: `<break time="1s"/>`."""

from __future__ import annotations

import pytest

from deployments.core.errors import InvalidRequest
from deployments.text.check import check_text
from deployments.text.cuts import CutText, Segment
from deployments.text.pauses import Stretch, asked_pauses_s, pause_mark, stretches
from deployments.text.scripts import is_speakable

ONE, HALF = pause_mark(1.0), pause_mark(0.5)


def segments(text: str) -> list[Segment]:
    cut = CutText(text, max_chars=200)
    return [cut.piece(begin, end) for begin, end in zip([None, *cut.cuts], cut.cuts, strict=False)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("One two", [Stretch("One two")]),
        (f"One{ONE}two", [Stretch("One", 1.0), Stretch("two")]),
        (f"One{ONE}{HALF}two", [Stretch("One", 1.5), Stretch("two")]),
        (f"One {ONE}. {HALF} two", [Stretch("One . ", 1.5), Stretch(" two")]),
        (f"{HALF}One{ONE}", [Stretch("One", 1.0, lead_s=0.5)]),
        (f"{HALF}-{HALF}One", [Stretch("-One", lead_s=1.0)]),
        (f"{ONE}...", [Stretch(" ...")]),
        ("", [Stretch("")]),
    ],
)
def test_a_text_is_cut_at_its_pauses(text: str, found: list[Stretch]) -> None:
    assert stretches(text) == found


def test_no_pause_is_a_letter_and_its_length_is_kept() -> None:
    for hundredths in range(0, 1001, 7):
        mark = pause_mark(hundredths / 100)
        assert len(mark) == 1
        assert not is_speakable(mark)
        assert asked_pauses_s(f"a{mark}b") == [hundredths / 100]


def test_segments_end_there_whatever_the_marks_say() -> None:
    found = segments(f"Wait{ONE}for it. Now, please{HALF}")
    assert [(each.text, each.pause_after_s, each.pause_asked) for each in found] == [
        ("Wait", 1.0, True),
        ("for it.", 0.3, False),
        ("Now,", 0.12, False),
        ("please", 0.5, True),
    ]


def test_a_pause_before_the_first_word() -> None:
    (segment,) = segments(f"{HALF}One")
    assert (segment.text, segment.lead_s, segment.pause_after_s) == ("One", 0.5, 0.0)


@pytest.mark.parametrize(
    "text", ['a<break time="11s"/>b', 'a<break time="9s"/>b' * 8, 'a<break time="99999s"/>b']
)
def test_too_long_a_pause_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="10 s are allowed for each and 60 s for all") as caught:
        check_text(text, max_chars=4096, cleaning=True)
    assert caught.value.code == "pause_too_long"


def test_nobody_can_type_a_pause() -> None:
    assert check_text(f"One{ONE}two", max_chars=100) == "Onetwo"
