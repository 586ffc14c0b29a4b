"""Whether requests go to a model: a state machine without tasks, moved by what is observed of the model."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

FIRST_INTERVAL_S = 1.0
LONGEST_INTERVAL_S = 30.0
GROWTH = 2.0


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Circuit:
    """A circuit breaker (Nygard, Release It!, 2007) whose probes come at growing intervals.

    closed: requests go to the model. The first failure opens it.
    open: others come first. `probe_in_s` says when the model is to be asked again; each silence makes that longer.
    half-open: a probe was answered. One request at a time tries the model: its first audio closes the circuit, its
    failure opens it for longer than before.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_interval_s: float = FIRST_INTERVAL_S,
        longest_interval_s: float = LONGEST_INTERVAL_S,
    ) -> None:
        self._clock = clock
        self._first_interval_s = first_interval_s
        self._longest_interval_s = longest_interval_s
        self._interval_s = first_interval_s
        self._probe_at_s = 0.0
        self._on_trial = False
        self.state = State.CLOSED

    @property
    def lets_in(self) -> bool:
        """Whether a request that comes now goes to the model as to any other."""
        return self.state is State.CLOSED or (self.state is State.HALF_OPEN and not self._on_trial)

    @property
    def probe_in_s(self) -> float | None:
        """Until the next probe, 0 where it is due; None where none is wanted."""
        return max(0.0, self._probe_at_s - self._clock()) if self.state is State.OPEN else None

    def probe_now(self) -> None:
        """There is news of the model: it need not be waited for any longer."""
        self._probe_at_s = self._clock()

    def failed(self) -> None:
        """A request was not answered. While it is open that is no news: such a request began before."""
        if self.state is State.CLOSED:
            self._open(self._first_interval_s)
        elif self.state is State.HALF_OPEN:
            self._open(self._interval_s * GROWTH)

    def probe_failed(self) -> None:
        if self.state is State.OPEN:
            self._open(self._interval_s * GROWTH)
        else:
            self.failed()

    def probe_answered(self) -> None:
        if self.state is State.OPEN:
            self.state, self._on_trial = State.HALF_OPEN, False

    def begin_trial(self) -> bool:
        """Whether the request that goes to the model now is the one that tries it."""
        if self.state is not State.HALF_OPEN or self._on_trial:
            return False
        self._on_trial = True
        return True

    def end_trial(self) -> None:
        """The request that tried it has ended; without a verdict, as when its client leaves, the next one tries."""
        self._on_trial = False

    def answered(self) -> None:
        """A request got its first audio."""
        self.state, self._on_trial = State.CLOSED, False
        self._interval_s = self._first_interval_s

    def _open(self, interval_s: float) -> None:
        self.state, self._on_trial = State.OPEN, False
        self._interval_s = min(interval_s, self._longest_interval_s)
        self._probe_at_s = self._clock() + self._interval_s
