"""What stops an evaluation, as against what it measures."""

from __future__ import annotations


class EvalError(Exception):
    """The evaluation cannot run or cannot mean anything; the text says what to change."""
