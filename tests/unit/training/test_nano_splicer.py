"""Spliced sentences: every symbol keeps codes of its own, whole stretches come from one recording."""

from __future__ import annotations

import numpy as np
import pytest

from training.nano.splicer import Recorded, Splicer, recorded


def recording(symbols: str) -> Recorded:
    """Two codes per symbol; silence around it."""
    numbers = np.array([0, *map(ord, symbols), 0], np.uint8)
    return Recorded(numbers, np.arange(2, 2 * len(numbers) + 1, 2))


def splicer(*recordings: Recorded) -> Splicer:
    return Splicer(recordings, np.random.default_rng(0))


def test_a_recorded_sentence_comes_back_whole() -> None:
    found = splicer(recording("xyz"), recording("abcdef")).splice(list(b"abcdef"))
    assert found.tolist() == list(range(10, 26))


def test_a_new_sentence_is_made_of_the_longest_stretches() -> None:
    given = [recording("abcdx"), recording("ycdefg")]
    found = splicer(*given).splice(list(b"abcdefg")).tolist()
    # Silence, a, b, c from the first; d stands before an e there where the second is taken.
    assert found == [0, 1, 2, 3, 4, 5, 6, 7, *range(20, 30)]


def test_an_unknown_symbol_is_named() -> None:
    with pytest.raises(KeyError, match=str(ord("q"))):
        splicer(recording("abc")).splice(list(b"aq"))
    assert not splicer(recording("abc")).knows(list(b"aq"))
    assert splicer(recording("abc")).knows(list(b"ca"))


def test_every_code_belongs_to_the_symbol_that_sounds_in_its_middle() -> None:
    # 25 ms each; the middles of the codes lie at 17.5, 37.5, 57.5 and 77.5 ms.
    found = recorded(np.array([0, 5, 6, 0]), np.array([1, 1, 1, 1]), 5)
    assert found.stops.tolist() == [1, 2, 3, 5]


def test_a_symbol_without_time_gets_no_code() -> None:
    found = recorded(np.array([0, 5, 6, 0]), np.array([1, 0, 2, 1]), 5)
    assert found.stops.tolist() == [1, 1, 3, 5]
