"""Shapes in which work is captured. Captures themselves: tests of the stages that use them."""

from __future__ import annotations

from deployments.engine.cuda_graphs import key_buckets, row_buckets, smallest


def test_row_buckets() -> None:
    assert row_buckets(1) == [1]
    assert row_buckets(6) == [1, 2, 4, 8]
    assert row_buckets(40) == [1, 2, 4, 8, 16, 24, 32, 48]


def test_key_buckets() -> None:
    assert key_buckets(200) == [200]
    assert key_buckets(1024) == [256, 512, 1024]
    assert key_buckets(2450) == [256, 512, 1024, 2048, 2450]


def test_the_smallest_that_holds_enough() -> None:
    assert [smallest([1, 2, 4, 8], needed) for needed in (1, 2, 3, 8)] == [1, 2, 4, 8]
