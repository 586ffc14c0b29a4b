"""How many asynchronous generators a value passes on its way out."""

from __future__ import annotations

import inspect
import sys


def generators_above() -> int:
    """Asynchronous generators that wait for the caller of this function, the caller included."""
    count = 0
    frame = sys._getframe(1)
    while frame is not None:
        count += bool(frame.f_code.co_flags & inspect.CO_ASYNC_GENERATOR)
        frame = frame.f_back  # type: ignore[assignment]
    return count
