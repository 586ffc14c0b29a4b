"""Paragraphs of a text: what line breaks mean."""

from __future__ import annotations


def split_paragraphs(text: str) -> list[str]:
    """The paragraphs in order, each on one line with single spaces, none empty.

    A blank line always ends a paragraph. A single line break does too, unless the next line starts with a
    lower-case letter: that is text wrapped by an editor, and the break is a space.
    """
    paragraphs: list[str] = []
    open_lines: list[str] = []
    for line in (" ".join(line.split()) for line in text.splitlines()):
        if open_lines and not line[:1].islower():
            paragraphs.append(" ".join(open_lines))
            open_lines = []
        if line:
            open_lines.append(line)
    return [*paragraphs, " ".join(open_lines)] if open_lines else paragraphs
