"""`voicegraph eval`: what the answers of a speech server sound like, measured, and settings compared in pairs."""

from __future__ import annotations


class EvalError(Exception):
    """The evaluation cannot run or cannot mean anything; the text says what to change."""
