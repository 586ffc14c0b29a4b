"""How many replicas the stages of one model want: pure functions over what they and the Routers report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.scaling.crowd import Crowd

IDLE = 0.01  # of a replica's capacity: less is the odd question whether it is ready
WAITS = 0.5  # streams; fewer, on average, wait a moment for their turn at any load
GROWTH = 2.0  # times more replicas at most that waiting streams ask for at a time: their number says little


@dataclass(frozen=True, slots=True)
class StageState:
    """A deployment that scales. `load`: its work in the capacities of one replica, so 3.5 is what fills three and a
    half of them; None where no replica has reported any."""

    name: str
    running: int
    target: int  # replicas that were decided on; more than `running` while some load, or find no room
    load: float | None

    @property
    def fullness(self) -> float:
        """Of the replicas that run; 0 where nothing is known."""
        return (self.load or 0.0) / max(1, self.running)

    @property
    def lacks_replicas(self) -> bool:
        return self.target > self.running


def wanted_replicas(stages: Sequence[StageState], crowd: Crowd, target_load: float) -> dict[str, float]:
    """By stage of one model, before its own bounds and delays are applied.

    Each follows its own load: what it has to do, over `target_load` (0 to 1) of what a replica does together. Beyond
    that they heed each other:

    * Streams that wait at the Routers ask for more of the fullest stage: the others are held up by it.
    * While one stage grows none gives replicas up, for what is made more of in one place comes to the next.
    * A stage does not grow while a fuller one still lacks replicas: it would take the room that the other needs, and
      could not use it.
    * A model sleeps and wakes as a whole.
    """
    if crowd.held < IDLE and all((stage.load or 0.0) < IDLE for stage in stages):
        return {stage.name: 0.0 for stage in stages}
    fullest = max(stages, key=lambda stage: stage.fullness)
    wanted = {stage.name: _own(stage, target_load) for stage in stages}
    if crowd.waiting >= WAITS:
        more = min(GROWTH, 1 + crowd.waiting / max(1.0, crowd.speaking))
        wanted[fullest.name] = max(wanted[fullest.name], more * max(1, fullest.running))
    growing = any(wanted[stage.name] > stage.target for stage in stages)
    for stage in stages:
        if growing:
            wanted[stage.name] = max(wanted[stage.name], stage.target)
        held_up = any(other.lacks_replicas and other.fullness > stage.fullness for other in stages)
        if held_up and stage.running > 0:
            wanted[stage.name] = min(wanted[stage.name], stage.target)
    return wanted


def _own(stage: StageState, target_load: float) -> float:
    """By its own load alone; where nothing is known it stays as it is. One replica at least: the model is in use."""
    if stage.load is None:
        return max(1, stage.target)
    return max(1.0, stage.load / target_load)
