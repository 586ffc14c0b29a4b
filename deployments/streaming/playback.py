"""Where the listener of a request is, who began to play with the first sample."""

from __future__ import annotations

import time

# A newcomer's first sound is as urgent as what others need within this time, however long it has waited: a later start
# is heard less than a gap.
FIRST_DUE_S = 1.0


class Playback:
    """Segments are sent in order; those further back are due after the audio expected of those before."""

    def __init__(self) -> None:
        self.audio_s = 0.0
        self.last_sent_s = 0.0  # when something was sent, by time.monotonic()
        self._began: float | None = None
        self._expected: dict[int, float] = {}
        self._sent: dict[int, float] = {}

    def expect(self, segment: int, audio_s: float) -> None:
        """An estimate of how long `segment` will be, with the pause after it."""
        self._expected[segment] = audio_s

    def sent(self, segment: int, audio_s: float) -> None:
        now = time.monotonic()
        if self._began is None or now > self._began + self.audio_s:
            # Who has run dry goes on with what comes, and is behind by the gap from then on.
            self._began = now - self.audio_s
        self.audio_s += audio_s
        self.last_sent_s = now
        self._sent[segment] = self.sent_s(segment) + audio_s

    def sent_s(self, segment: int) -> float:
        return self._sent.get(segment, 0.0)

    def complete(self, segment: int) -> None:
        """Nothing more will come of `segment`, however long it was expected to be."""
        self._expected.pop(segment, None)

    def slack_s(self, segment: int) -> float:
        """Time until the listener needs the next sample of `segment`; below 0: since when it has been missing."""
        buffered = FIRST_DUE_S if self._began is None else self._began + self.audio_s - time.monotonic()
        before = (
            max(0.0, expected - self.sent_s(other))
            for other, expected in self._expected.items()
            if other < segment
        )
        return buffered + sum(before)
