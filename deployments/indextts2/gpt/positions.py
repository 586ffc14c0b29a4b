"""Which row of the mel position table a code is fed with."""

from __future__ import annotations

from collections.abc import Callable

Position = Callable[[int], int]
"""Position of input number n of a generation, from 0, which is the start code."""


def generation_position(fed: int) -> int:
    """As the published code decodes: 0 the start code, then 2, 3, …; 1 is left out (indextts2-front.md 6.6)."""
    return fed + 1 if fed else 0


def trained_position(fed: int) -> int:
    """0, 1, 2, …: as the model was trained, and as ports decode that do not follow the published one."""
    return fed


POSITIONS: dict[str, Position] = {"published": generation_position, "trained": trained_position}
