"""From measured costs to replicas, cards and nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.capacity.costs import StageCost
from serve_app.capacity.plan import (
    REPLICAS_PER_CLUSTER,
    DeploymentPlan,
    NodeShape,
    Share,
    StageDemand,
    cards_and_nodes,
    plan,
    streams_per_replica,
)

NODE = NodeShape(cpus=96, gpus=8)
CARD = Share(cpus=1, gpus=1)
# A step of 4 ms and 0.02 ms for each further row, 50 steps a second.
GPT = StageCost(rows=128, points=((1, 0.2), (8, 0.026), (128, 0.00256)))
FLAT = StageCost(rows=16, points=((1, 0.05),))
RELAYS = (("Router", Share(0.1, 0), 200),)


def test_work_that_is_shared_falls_with_the_rows() -> None:
    assert [GPT.at(rows) for rows in (0.5, 1, 8, 128, 500)] == pytest.approx(
        [0.2, 0.2, 0.026, 0.00256, 0.00256]
    )
    assert 0.026 < GPT.at(4) < 0.2
    exact = StageCost(rows=64, points=((1, 0.11), (64, 0.1 / 64 + 0.01)))
    assert exact.at(10) == pytest.approx(0.1 / 10 + 0.01)


def test_a_replica_carries_what_its_work_leaves_room_for() -> None:
    assert streams_per_replica(FLAT, CARD, 0.7) == pytest.approx(0.7 / 0.05)
    assert streams_per_replica(GPT, CARD, 0.7) == pytest.approx(0.7 / 0.00256)


def test_a_fraction_of_a_card_is_that_part_of_its_time() -> None:
    half = Share(cpus=1, gpus=0.5)
    assert streams_per_replica(FLAT, half) == pytest.approx(streams_per_replica(FLAT, CARD) / 2)
    assert streams_per_replica(FLAT, Share(cpus=2, gpus=0)) == streams_per_replica(FLAT, CARD)


def test_no_more_rows_than_still_advance_as_fast_as_they_are_heard() -> None:
    slow = StageCost(rows=64, points=((1, 0.4), (64, 0.4 / 64 + 0.1)))
    # 0.4 + 0.1 n <= 1: six rows; 64 would make more audio in all, and every listener would hear gaps.
    assert streams_per_replica(slow, CARD, 1.0) == pytest.approx(1 / slow.at(5), rel=0.15)


def test_replicas_cards_and_nodes() -> None:
    half = Share(cpus=1, gpus=0.5)
    stages = [StageDemand("m-gpt", GPT, half), StageDemand("m-s2mel", FLAT, CARD)]
    found = plan(100, stages, RELAYS, NODE, transfer_bytes_per_audio_s=400e3)
    by_name = {each.deployment: each for each in found.deployments}
    assert by_name["m-s2mel"].replicas == 8  # 14 each
    assert by_name["m-gpt"].replicas == 1
    assert by_name["Router"].replicas == 1
    assert (found.cards, found.nodes, found.clusters) == (9, 2, 1)
    assert found.bottleneck.deployment == "m-s2mel"
    assert found.transfer_bytes_per_s == pytest.approx(40e6)


def test_a_hundred_thousand_streams_need_more_than_one_cluster() -> None:
    found = plan(100_000, [StageDemand("m", FLAT, CARD)], RELAYS, NODE)
    assert sum(each.replicas for each in found.deployments) > 7 * REPLICAS_PER_CLUSTER
    assert found.clusters >= 8
    assert found.proxies == 100


def test_fractions_are_packed_as_ray_packs_them() -> None:
    def of(gpus: float, replicas: int) -> DeploymentPlan:
        return DeploymentPlan(f"{gpus}", replicas, 1.0, Share(0.1, gpus), 0.5)

    assert cards_and_nodes([of(0.6, 3), of(0.4, 3)], NODE)[0] == 3
    assert cards_and_nodes([of(0.6, 3), of(0.5, 1)], NODE)[0] == 4
    assert cards_and_nodes([of(2.0, 2), of(0.1, 10)], NODE)[0] == 5
    assert cards_and_nodes([of(0.0, 50)], NODE) == (0, 1)


@pytest.mark.parametrize(
    ("share", "node", "told"),
    [
        (Share(1, 1.5), NODE, "num_gpus 1.5"),
        (Share(128, 0), NODE, "asks for 128 CPUs, and a node has 96"),
        (Share(1, 1), NodeShape(96, 0), "the nodes have none; give --node-gpus"),
    ],
)
def test_what_fits_nowhere_is_said(share: Share, node: NodeShape, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plan(10, [StageDemand("m", FLAT, share)], RELAYS, node)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_more_listeners_never_take_less(few: int, more: int) -> None:
    few, more = sorted((few, more))
    stages = [StageDemand("m-gpt", GPT, Share(1, 0.3)), StageDemand("m-s2mel", FLAT, Share(1, 0.7))]
    small, large = (plan(count, stages, RELAYS, NODE) for count in (few, more))
    assert small.cards <= large.cards
    for one, other in zip(small.deployments, large.deployments, strict=True):
        assert one.replicas <= other.replicas
        assert one.load <= 1.0
