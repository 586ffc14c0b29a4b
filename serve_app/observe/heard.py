"""What somebody hears who plays a stream as it comes: when it runs dry, and for how long."""

from __future__ import annotations

import time


class HeardStream:
    """Begins to play with the first piece. `missed_s`: silence where audio should have been, so far."""

    def __init__(self) -> None:
        self.audio_s = 0.0
        self.missed_s = 0.0
        self._began_s: float | None = None

    def hears(self, audio_s: float) -> None:
        """The next piece has just come."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        late_s = now_s - (self._began_s + self.audio_s)
        if late_s > 0:
            self.missed_s += late_s
            self._began_s += late_s  # what follows is heard that much later
        self.audio_s += audio_s
