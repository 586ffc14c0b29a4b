"""How many requests one model may hold, waiting ones included: beyond that the next is refused at once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from deployments.core.errors import Overloaded


class RequestLimit:
    """Counts; used from one event loop. When a request begins is the model's own business: it knows what it makes in
    time. This bound is for floods, and for models that take whatever comes."""

    def __init__(self, model: str, *, most: int, retry_after_s: float) -> None:
        self._model = model
        self._most = most
        self._retry_after_s = retry_after_s
        self.held = 0

    def change(self, *, most: int, retry_after_s: float) -> None:
        """For requests that come from now on; those that hold a place keep it."""
        self._most, self._retry_after_s = most, retry_after_s

    @property
    def reached(self) -> bool:
        return self.held >= self._most

    @contextmanager
    def place(self) -> Generator[None, None, None]:
        """Hold a place. Raises Overloaded, with when to come back, where there is none."""
        if self.reached:
            raise Overloaded(
                f"model {self._model!r} is full: it has {self.held} requests already; "
                f"try again in {self._retry_after_s:g} s",
                retry_after_s=self._retry_after_s,
            )
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1
