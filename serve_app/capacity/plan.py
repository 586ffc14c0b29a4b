"""How many replicas, cards, nodes and clusters a number of listeners takes: pure functions over measured costs.

A listener hears a second of audio per second. So `streams` listeners ask every stage for `streams` seconds of audio
per second, and a replica whose share of a card is `share` makes `share / cost` of them, `cost` being the seconds of
work for a second of audio with as many rows in a step as it has when it is full. The rest is rounding up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.capacity.costs import StageCost

UTILISATION = 0.7  # of what a stage could make: above it the waits of random arrivals grow steeply
# What one process, node or cluster carries. Reasons and sources are in docs/capacity.md.
STREAMS_PER_INGRESS = 200
STREAMS_PER_PROXY = 1_000
REPLICAS_PER_CLUSTER = 1_000
NODES_PER_CLUSTER = 250
STORE_BYTES_PER_S_AND_NODE = 500e6


@dataclass(frozen=True, slots=True)
class Share:
    """What one replica of a deployment asks for."""

    cpus: float
    gpus: float

    @property
    def of_a_card(self) -> float:
        """Of the time of the device that it works on: a fraction of a card is taken as that part of its time; a replica
        on CPUs has its own."""
        return self.gpus if self.gpus > 0 else 1.0


@dataclass(frozen=True, slots=True)
class NodeShape:
    cpus: float
    gpus: int


@dataclass(frozen=True, slots=True)
class StageDemand:
    deployment: str
    cost: StageCost
    share: Share


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """`streams`: real-time listeners that one replica carries."""

    deployment: str
    replicas: int
    streams: float
    share: Share
    load: float  # of its replicas, 0 to 1

    @property
    def gpus(self) -> float:
        return self.replicas * self.share.gpus

    @property
    def cpus(self) -> float:
        return self.replicas * self.share.cpus


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    streams: int
    deployments: tuple[DeploymentPlan, ...]
    cards: int
    nodes: int
    proxies: int
    clusters: int
    transfer_bytes_per_s: float  # through all object stores

    @property
    def bottleneck(self) -> DeploymentPlan:
        return max(self.deployments, key=lambda each: each.load)


def streams_per_replica(cost: StageCost, share: Share, utilisation: float = UTILISATION) -> float:
    """Real-time listeners of one replica.

    With more rows in a step the work for a second of audio falls, and each row advances more slowly: no more rows than
    still advance as fast as they are heard, and no more than there are.
    """
    rows = max(
        (each for each in range(1, cost.rows + 1) if each * cost.at(each) <= share.of_a_card), default=1
    )
    return utilisation * share.of_a_card / cost.at(rows)


def plan(
    streams: int,
    stages: Sequence[StageDemand],
    relays: Sequence[tuple[str, Share, int]],
    node: NodeShape,
    *,
    transfer_bytes_per_audio_s: float = 0.0,
    utilisation: float = UTILISATION,
) -> CapacityPlan:
    """`relays`: what computes nothing, with the streams that one replica of it carries. Raises ValueError where a
    replica does not fit into a node."""
    planned = [_stage(streams, stage, utilisation) for stage in stages]
    planned += [
        _deployment(name, share, streams, float(carried), utilisation) for name, share, carried in relays
    ]
    cards, nodes = cards_and_nodes(planned, node)
    bytes_per_s = streams * transfer_bytes_per_audio_s
    nodes = max(nodes, math.ceil(bytes_per_s / STORE_BYTES_PER_S_AND_NODE), 1)
    replicas = sum(each.replicas for each in planned)
    return CapacityPlan(
        streams,
        tuple(planned),
        cards,
        nodes,
        max(math.ceil(streams / STREAMS_PER_PROXY), 1),
        max(math.ceil(replicas / REPLICAS_PER_CLUSTER), math.ceil(nodes / NODES_PER_CLUSTER), 1),
        bytes_per_s,
    )


def _stage(streams: int, stage: StageDemand, utilisation: float) -> DeploymentPlan:
    carried = streams_per_replica(stage.cost, stage.share, utilisation)
    return _deployment(stage.deployment, stage.share, streams, carried, utilisation)


def _deployment(name: str, share: Share, streams: int, carried: float, utilisation: float) -> DeploymentPlan:
    replicas = max(1, math.ceil(streams / carried))
    return DeploymentPlan(name, replicas, carried, share, utilisation * streams / (replicas * carried))


def cards_and_nodes(planned: Sequence[DeploymentPlan], node: NodeShape) -> tuple[int, int]:
    """Cards and nodes that hold all replicas: the largest fractions first, each into the first card that has room, as
    Ray packs them. Raises ValueError where one does not fit at all."""
    room: list[float] = []  # of each card
    for share, count in sorted(((each.share.gpus, each.replicas) for each in planned), reverse=True):
        if share > 1 and not float(share).is_integer():
            raise ValueError(f"num_gpus {share:g}: Ray takes fractions of one card, or whole cards")
        for _ in range(count if share > 0 else 0):
            _put(room, share)
    cpus = sum(each.cpus for each in planned)
    largest = max((each.share for each in planned), key=lambda share: share.cpus)
    if largest.cpus > node.cpus:
        raise ValueError(f"a replica asks for {largest.cpus:g} CPUs, and a node has {node.cpus:g}")
    if room and not node.gpus:
        raise ValueError("stages ask for GPUs, and the nodes have none; give --node-gpus")
    by_cards = math.ceil(len(room) / node.gpus) if room else 0
    return len(room), max(by_cards, math.ceil(cpus / node.cpus))


def _put(room: list[float], share: float) -> None:
    if share > 1:
        room.extend([0.0] * int(share))
        return
    for card, left in enumerate(room):
        if left >= share - 1e-9:
            room[card] = left - share
            return
    room.append(1.0 - share)
