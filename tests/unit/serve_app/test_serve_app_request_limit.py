from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.core.errors import Overloaded
from serve_app.request_limit import RequestLimit


@given(most=st.integers(1, 4), comes=st.lists(st.booleans(), max_size=30))
def test_no_order_of_coming_and_going_breaks_the_bound(most: int, comes: list[bool]) -> None:
    limit, inside = RequestLimit("toy", most=most, retry_after_s=1.0), []
    for come in comes:
        if come:
            visitor = ExitStack()
            try:
                visitor.enter_context(limit.place())
            except Overloaded:
                assert len(inside) == most
            else:
                inside.append(visitor)
        elif inside:
            inside.pop(0).close()
        assert limit.held == len(inside) <= most
        assert limit.reached == (len(inside) == most)


def test_the_refusal_says_when_to_come_back() -> None:
    limit = RequestLimit("toy", most=1, retry_after_s=2.5)
    with limit.place(), pytest.raises(Overloaded, match="model 'toy' is full: it has 1 requests") as caught:
        limit.place().__enter__()
    assert caught.value.retry_after_s == 2.5
    assert limit.held == 0


def test_an_error_inside_frees_the_place() -> None:
    limit = RequestLimit("toy", most=1, retry_after_s=1.0)
    with pytest.raises(RuntimeError), limit.place():
        raise RuntimeError
    with limit.place():
        assert limit.reached
