"""What stops a benchmark, as against what it measures."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot run or cannot mean anything; the text says what to change."""
