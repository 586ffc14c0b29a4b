from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from deployments.engine.batch import AT_EASE_S, KEEPS_UP, UNKNOWN, without_idlers
from deployments.streaming.cost import PieceCost

CODE_S = 0.02
CPU = PieceCost(0.008, 0.004)  # three rows take as long as they make
GPU = PieceCost(0.004, 0.00005)


@dataclass(frozen=True)
class Row:
    due_s: float
    made_s: float = CODE_S


def batch(step: PieceCost, *dues_s: float) -> list[float]:
    """Those that take part of rows that are due at `dues_s`, at time 0."""
    rows = [Row(due_s) for due_s in sorted(dues_s)]
    return [row.due_s for row in without_idlers(rows, len, step, 0.0)]


def test_rows_at_ease_let_those_in_a_hurry_keep_up_with_their_listeners() -> None:
    assert batch(CPU, 0.1, 0.5, 9.0, 12.0) == [0.1, 0.5]
    assert batch(CPU, 0.1, 9.0, 12.0) == [0.1, 9.0]  # two rows still keep up


def test_on_a_gpu_all_join() -> None:
    dues = [0.1, *(float(second) for second in range(3, 60))]
    assert batch(GPU, *dues) == dues
    assert batch(UNKNOWN, *dues) == dues


def test_where_all_are_in_a_hurry_or_none_is_all_join() -> None:
    assert batch(CPU, 0.1, 0.2, 0.3, 0.4) == [0.1, 0.2, 0.3, 0.4]
    assert batch(CPU, 3.0, 4.0, 5.0, 6.0) == [3.0, 4.0, 5.0, 6.0]


def test_rows_that_make_no_audio_yet_share_their_steps() -> None:
    rows = [Row(0.1, made_s=0.0), Row(30.0), Row(40.0), Row(50.0)]
    assert without_idlers(rows, len, CPU, 0.0) == rows


@given(st.lists(st.floats(-5, 60), min_size=1, max_size=12), st.floats(0, 0.05), st.floats(0, 0.02))
def test_nobody_in_a_hurry_is_left_out_and_who_joins_does_not_slow_them_too_far(
    dues_s: list[float], base_s: float, row_s: float
) -> None:
    step = PieceCost(base_s, row_s)
    rows = [Row(due_s) for due_s in sorted(dues_s)]
    chosen = without_idlers(rows, len, step, 0.0)
    hurried = [row for row in rows if row.due_s < AT_EASE_S]
    assert chosen == rows[: len(chosen)]
    assert len(chosen) >= max(1, len(hurried))
    if hurried and len(hurried) < len(chosen):
        assert step.seconds(len(chosen)) <= KEEPS_UP * CODE_S
