"""Whether what `voicegraph capacity` plans carries its listeners: a discrete-event simulation of the planned replicas.

    python -m benchmarks.capacity_check gpu-80g --streams 200
    python -m benchmarks.capacity_check cluster --streams 1000 --over 1.0 1.3 1.6

Listeners arrive at random. Every stage is a row of replicas that work on the most urgent pieces together, as long as
the costs say; a stream goes through the stages piece by piece. Printed for multiples of the planned number: who hears
the text without a gap, and how long the first sound takes.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.virtual_time import in_virtual_time
from serve_app.bench.arrivals import OpenLoop
from serve_app.capacity.command import ESTIMATED
from serve_app.capacity.config import plan_for, stage_demands
from serve_app.capacity.costs import StageCost, read_costs
from serve_app.capacity.plan import CapacityPlan, NodeShape, StageDemand
from serve_app.config_file import load
from serve_app.default_configs import config_path

PIECE_S = 0.1
FIRST_S = 0.4  # of audio, that comes at once: nobody sends less
STREAM_S = 6.0
LATE_S = 0.05  # what nobody hears
LISTENERS = 600  # of one load


@dataclass(order=True)
class Piece:
    due_s: float
    number: int
    made: asyncio.Future[None] = field(compare=False)


class Replica:
    """Works on the most urgent pieces together. `share`: of a card's time."""

    def __init__(self, cost: StageCost, share: float) -> None:
        self._cost, self._share = cost, share
        self._rows = max(n for n in range(1, cost.rows + 1) if n == 1 or n * cost.at(n) <= share)
        self._waiting: list[Piece] = []
        self._held = 0
        self._wake = asyncio.Event()
        self.worker = asyncio.ensure_future(self._work())

    @property
    def load(self) -> int:
        return len(self._waiting) + self._held

    async def make(self, piece: Piece) -> None:
        heapq.heappush(self._waiting, piece)
        self._wake.set()
        await piece.made

    async def _work(self) -> None:
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            batch = [heapq.heappop(self._waiting) for _ in range(min(self._rows, len(self._waiting)))]
            self._held = len(batch)
            await asyncio.sleep(len(batch) * self._cost.at(len(batch)) * PIECE_S / self._share)
            self._held = 0
            for piece in batch:
                piece.made.set_result(None)


@dataclass(frozen=True, slots=True)
class Listened:
    first_s: float
    gap_s: float  # the longest


@dataclass(frozen=True, slots=True)
class Check:
    """`whole`: part of the listeners who heard no gap."""

    whole: float
    first_s_p50: float
    first_s_p95: float


def check(
    planned: CapacityPlan,
    stages: Sequence[StageDemand],
    streams: float,
    *,
    listeners: int = LISTENERS,
    seed: int = 1,
) -> Check:
    """The planned replicas of `stages`, in the order in which a stream goes through them, under so many listeners."""

    async def run() -> Check:
        replicas = {each.deployment: each.replicas for each in planned.deployments}
        rows = [
            [Replica(stage.cost, stage.share.of_a_card) for _ in range(replicas[stage.deployment])]
            for stage in stages
        ]
        load = OpenLoop(streams / STREAM_S, listeners * STREAM_S / streams, seed)
        numbers = itertools.count()
        try:
            heard = await load.run(lambda number, late_s: _listen(rows, numbers))
        finally:
            for replica in itertools.chain(*rows):
                replica.worker.cancel()
        first = sorted(each.first_s for each in heard)
        whole = sum(each.gap_s <= LATE_S for each in heard) / len(heard)
        return Check(whole, first[len(first) // 2], first[int(0.95 * len(first))])

    return in_virtual_time(run)


async def _listen(rows: Sequence[Sequence[Replica]], numbers: itertools.count[int]) -> Listened:
    """A stream sticks to one replica of a stage, the one that has least to do when it comes."""
    began_s = time.monotonic()
    chosen = [min(row, key=lambda replica: replica.load) for row in rows]
    made: list[float] = []
    first = round(FIRST_S / PIECE_S)
    pieces = range(round(STREAM_S / PIECE_S))
    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in rows]

    async def stage(place: int) -> None:
        for number in pieces:
            if place:
                await queues[place - 1].get()
            heard_s = made[first - 1] if len(made) >= first else time.monotonic()
            due_s = heard_s + number * PIECE_S
            await chosen[place].make(Piece(due_s, next(numbers), asyncio.get_running_loop().create_future()))
            if place + 1 == len(rows):
                made.append(time.monotonic())
            else:
                queues[place].put_nowait(number)

    await asyncio.gather(*(stage(place) for place in range(len(rows))))
    dry_s, gap_s = made[first - 1] + FIRST_S, 0.0
    for at_s in made[first:]:
        gap_s = max(gap_s, at_s - dry_s)
        dry_s = max(dry_s, at_s) + PIECE_S
    return Listened(made[first - 1] - began_s, gap_s)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--model", default="indextts2")
    parser.add_argument("--costs", type=Path, default=ESTIMATED)
    parser.add_argument("--over", type=float, nargs="*", default=[0.5, 1.0, 1.3, 1.6, 2.0])
    options = parser.parse_args(arguments)
    config, costs = load(config_path(options.config)), read_costs(options.costs)
    planned = plan_for(config, costs, options.model, options.streams, NodeShape(96, 8))
    stages = stage_demands(config, costs, options.model)
    print(
        f"{options.streams} listeners planned on {planned.cards} cards; {planned.bottleneck.deployment} is full first"
    )
    print("listeners  no gap  first sound p50    p95")
    for over in options.over:
        found = check(planned, stages, over * options.streams)
        listeners = over * options.streams
        print(f"{listeners:9.0f}  {found.whole:6.1%}  {found.first_s_p50:15.2f} {found.first_s_p95:6.2f}")


if __name__ == "__main__":
    main()
