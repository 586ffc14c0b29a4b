from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.piece_simulator import SENTENCES
from deployments.streaming.cost import Pace, PieceCost
from deployments.streaming.pieces import PieceLimits, PiecePlanner, Pieces, SeededPieces
from deployments.text.clauses import Boundary
from deployments.text.cuts import LEAST_WIDTH, CutText, Segment
from deployments.text.scripts import is_speakable, spoken_width

LIMITS = PieceLimits()
UNITS_PER_CHAR = 1 / 14
WORDS = st.sampled_from(
    [
        "word",
        "longer",
        "and",
        "which",
        "of",
        "你好",
        "但是",
        "3.5",
        "x" * 30,
        "a,",
        "b.",
        "late;",
        "。",
        "\n\n",
    ]
)
TEXTS = st.lists(WORDS, min_size=1, max_size=80).map(" ".join).filter(is_speakable)
PACES = st.builds(
    lambda base_s, unit_s, spread: Pace(PieceCost(base_s, unit_s, spread), PieceCost(0.0, 1.0, 0.1)),
    st.floats(0.1, 0.6),
    st.floats(0.2, 0.7),
    st.floats(0.03, 0.2),
)
FAST, SLOW = (Pace(PieceCost(0.3, unit_s), PieceCost(0.0, 1.0)) for unit_s in (0.3, 0.65))


def natural(pause_s: float) -> float:
    return pause_s


def planner(text: str, *, heard: bool = True, pause_s: Callable[[float], float] = natural) -> PiecePlanner:
    cut = CutText(text, max_chars=LIMITS.max_width)
    return PiecePlanner(cut, UNITS_PER_CHAR, pause_s=pause_s, heard=heard, limits=LIMITS)


def all_of(pieces: Pieces, pace: Pace, available_s: Callable[[], float]) -> list[tuple[Segment, float]]:
    """`available_s` is asked for each piece but the first."""
    taken = [pieces.take(pace, None)]
    while not pieces.finished:
        taken.append(pieces.take(pace, available_s()))
    return taken


@settings(max_examples=40, deadline=None)
@given(TEXTS, PACES, st.booleans(), st.integers(0, 1000))
def test_pieces_are_the_text_whatever_time_there_is(text: str, pace: Pace, heard: bool, seed: int) -> None:
    pieces, draws = planner(text, heard=heard), random.Random(seed)
    whole_s = pieces.rest_s
    taken = all_of(pieces, pace, lambda: draws.uniform(-2, 12))
    assert "".join("".join(piece.text.split()) for piece, _ in taken) == "".join(text.split())
    assert sum(units for _, units in taken) == pytest.approx(whole_s)
    assert pieces.rest_s == 0
    assert taken[-1][0].pause_after_s == 0
    for piece, units in taken:
        assert is_speakable(piece.text)
        assert units > 0
        assert spoken_width(piece.text) <= LIMITS.max_width or piece.boundary > Boundary.NONE


@settings(max_examples=40, deadline=None)
@given(TEXTS, PACES, st.integers(0, 1000))
def test_no_clause_is_cut_near_its_ends(text: str, pace: Pace, seed: int) -> None:
    pieces, draws = planner(text), random.Random(seed)
    inside = False
    for piece, units in all_of(pieces, pace, lambda: draws.uniform(0, 6)):
        if inside or piece.boundary is Boundary.NONE:
            assert units / UNITS_PER_CHAR >= LEAST_WIDTH - 1e-6
        inside = piece.boundary is Boundary.NONE


@settings(max_examples=40, deadline=None)
@given(TEXTS, PACES, st.floats(0.3, 10))
def test_a_piece_is_there_in_time_wherever_there_is_one_that_may_be(
    text: str, pace: Pace, available_s: float
) -> None:
    pieces = planner(text)
    begin = round(pieces.take(pace, None)[1] / UNITS_PER_CHAR)
    if pieces.finished:
        return
    widths = [
        cut.width - begin
        for cut in CutText(text, max_chars=LIMITS.max_width).cuts
        if cut.width > begin and (cut.boundary > Boundary.NONE or cut.width - begin >= LEAST_WIDTH)
    ]
    longest_s = min(available_s - LIMITS.margin_s, LIMITS.longest_work_s)
    _, units = pieces.take(pace, available_s)
    if pace.work.seconds(widths[0] * UNITS_PER_CHAR) < longest_s:
        assert pace.work.seconds(units) <= longest_s + 1e-6


@settings(max_examples=40, deadline=None)
@given(TEXTS, PACES, st.booleans())
def test_how_long_a_first_piece_will_be_is_told_beforehand(text: str, pace: Pace, heard: bool) -> None:
    pieces = planner(text, heard=heard)
    for other in (FAST, SLOW, pace):
        expected = pieces.first_units(other)
    assert pieces.take(pace, None)[1] == expected


def test_what_nobody_listens_to_is_spoken_in_the_largest_pieces() -> None:
    text = " ".join(SENTENCES)
    silent = [piece for piece, _ in all_of(planner(text, heard=False), FAST, lambda: 0.0)]
    heard = all_of(planner(text), FAST, lambda: 1.5)
    assert len(silent) < len(heard)
    assert all(piece.boundary >= Boundary.CLAUSE for piece in silent)


def test_whoever_comes_next_waits_for_no_piece_for_long() -> None:
    limits = PieceLimits()
    for heard in (True, False):
        for _, units in all_of(planner(" ".join(SENTENCES), heard=heard), SLOW, lambda: 60.0):
            assert SLOW.work.seconds(units) <= limits.longest_work_s


@settings(max_examples=40, deadline=None)
@given(TEXTS, PACES, st.integers(0, 1000))
def test_seeded_pieces_are_those_of_the_text(text: str, pace: Pace, seed: int) -> None:
    draws = random.Random(seed)
    one, other = (SeededPieces(planner(text), SLOW) for _ in range(2))
    first_units = one.first_units(pace)
    taken = all_of(one, pace, lambda: draws.uniform(-1, 9))
    assert taken == all_of(other, FAST, lambda: 1.0)
    assert taken[0][1] == first_units
    assert one.rest_s == 0


def test_more_time_makes_larger_pieces() -> None:
    widths = []
    for available_s in (0.8, 1.5, 3.0, 6.0):
        pieces = planner(SENTENCES[4] + " " + SENTENCES[1])
        pieces.take(FAST, None)
        widths.append(pieces.take(FAST, available_s)[1])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_a_paragraph_is_never_joined_to_the_next() -> None:
    pieces = planner("A title\n\nThe text that follows it.", heard=False)
    assert [piece.text for piece, _ in all_of(pieces, FAST, lambda: 99.0)] == [
        "A title",
        "The text that follows it.",
    ]


def test_a_first_clause_is_cut_only_where_it_takes_long() -> None:
    clause = SENTENCES[4]
    assert planner(clause).take(SLOW, None)[0].boundary is Boundary.NONE
    quick = Pace(PieceCost(0.05, 0.1), PieceCost(0.0, 1.0))
    assert planner(clause).take(quick, None)[0].text == clause


def test_where_no_pauses_are_heard_they_are_not_counted_on() -> None:
    """After the short sentence comes a long one, for which the pause would have been time."""
    text = "Nobody knew it. " + SENTENCES[5]
    pace = Pace(PieceCost(0.5, 0.4, 0.03), PieceCost(0.0, 1.0, 0.03))
    first_units = [
        planner(text, pause_s=pause_s).first_units(pace) for pause_s in (lambda _: 1.5, lambda _: 0.0)
    ]
    assert first_units[0] < first_units[1]
