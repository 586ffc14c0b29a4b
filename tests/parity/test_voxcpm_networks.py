"""VoxCPM's single networks against the golden data, with the projections as stored and joined."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from golden_close import close
from golden_voxcpm import VERSIONS, Arrays, GoldenVoxCPM
from torch import Tensor

from deployments.voxcpm.lm.attention import AttendSpans, AttendStep, SlotSpan
from deployments.voxcpm.lm.tower import Tower
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.patch.flow import PatchSolver
from deployments.voxcpm.patch.times import TimeTable, time_embedding

LIMIT = 2e-5
FLOW_LIMIT = 1e-4
ROOM = 32


@pytest.fixture(scope="module", params=VERSIONS)
def known(request: pytest.FixtureRequest, golden: Path) -> GoldenVoxCPM:
    return GoldenVoxCPM(golden / "voxcpm" / request.param)


@pytest.fixture(scope="module")
def network(known: GoldenVoxCPM) -> VoxCPMNetwork:
    return known.checkpoint.network(device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def modules(known: GoldenVoxCPM) -> Arrays:
    return known.modules


@pytest.fixture(autouse=True)
def inference() -> object:
    with torch.inference_mode():
        yield


def causal(network: VoxCPMNetwork, tower: Tower, rows: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T, H) -> outputs, keys and values of its first layer (B, kv_heads, T, head_dim)."""
    batch, length = rows.shape[:2]
    cache = network.new_slots(batch, ROOM)
    group = network.dims.base.heads // network.dims.base.kv_heads
    attend = AttendSpans(cache, [SlotSpan(slot, 0, length) for slot in range(batch)], group)
    out = tower(rows.flatten(0, 1), attend, network._at(name, attend.positions)).view_as(rows)
    keys, values = (t[tower.first_layer, :, :length].transpose(1, 2) for t in (cache.keys, cache.values))
    return out, keys, values


def test_patch_encoder(network: VoxCPMNetwork, modules: Arrays) -> None:
    expected = modules["locenc.out_to_lm"].flatten(0, 1)
    close(network.encode(modules["locenc.in"].flatten(0, 1)), expected, LIMIT)


def test_quantiser(network: VoxCPMNetwork, modules: Arrays) -> None:
    close(network.fsq_layer(modules["fsq.in"]), modules["fsq.out"], LIMIT)


def test_base_model_as_a_whole(network: VoxCPMNetwork, modules: Arrays) -> None:
    out, keys, values = causal(network, network.base_lm, modules["base_lm.in"], "base")
    close(out, modules["base_lm.out"], LIMIT)
    close(keys, modules["base_lm.kv_layer0_k"], LIMIT)
    close(values, modules["base_lm.kv_layer0_v"], LIMIT)


def test_base_model_step_by_step(network: VoxCPMNetwork, modules: Arrays) -> None:
    """The last positions one at a time, in both ways to attend."""
    expected = modules["base_lm.steps_6_7_8"][0]
    rows = modules["base_lm.in"][0]
    first = len(rows) - len(expected)
    group = network.dims.base.heads // network.dims.base.kv_heads
    for batched in (False, True):
        cache = network.new_slots(2, ROOM)
        cache.keys.fill_(torch.nan)
        cache.values.fill_(torch.nan)
        begin = AttendSpans(cache, [SlotSpan(1, 0, first)], group)
        network.base_lm(rows[:first], begin, network._at("base", begin.positions))
        for place in range(first, len(rows)):
            attend: AttendSpans | AttendStep = AttendSpans(cache, [SlotSpan(1, place, 1)], group)
            if batched:
                attend = AttendStep(cache, torch.tensor([1]), torch.tensor([place]), ROOM)
            out = network.base_lm(rows[place : place + 1], attend, network._at("base", attend.positions))
            close(out[0], expected[place - first], LIMIT)


def test_residual_model(network: VoxCPMNetwork, modules: Arrays) -> None:
    out, _, _ = causal(network, network.residual_lm, modules["residual_lm.in"], "residual")
    close(out, modules["residual_lm.out"], LIMIT)


def test_time_vectors(network: VoxCPMNetwork, modules: Arrays) -> None:
    velocity = network.velocity
    embedding = time_embedding(modules["dit.t"], velocity.hidden)
    close(embedding, modules["dit.time_embedding"], LIMIT)
    close(velocity.time_mlp(embedding), modules["dit.time_mlp"], LIMIT)
    of_zero = velocity.delta_time_mlp(time_embedding(torch.zeros(1), velocity.hidden))
    close(of_zero, modules["dit.delta_time_mlp_of_zero"], LIMIT)


def test_velocity(network: VoxCPMNetwork, modules: Arrays) -> None:
    velocity = network.velocity
    tau = velocity.tau(*(time_embedding(t, velocity.hidden) for t in (modules["dit.t"], torch.zeros(1))))
    mu = modules["dit.mu"].unflatten(1, (velocity.mu_tokens, -1))
    cond = velocity.cond_proj(modules["dit.cond"].mT)
    out = velocity(modules["dit.x"].mT, mu, tau, cond, network.decoder_rotation())
    close(out.mT, modules["dit.out"], LIMIT)


def flows(modules: Arrays) -> list[tuple[int, float, Tensor]]:
    """Steps, guidance, result."""
    found = [(re.fullmatch(r"cfm\.out_n(\d+)_cfg([\d.]+)", name), value) for name, value in modules.items()]
    return [(int(match[1]), float(match[2]), value) for match, value in found if match]


def test_flow_matching(network: VoxCPMNetwork, modules: Arrays) -> None:
    for steps, guidance, expected in flows(modules):
        close(solve(network, modules, [(steps, guidance)])[0], expected, FLOW_LIMIT)


def test_rows_with_different_steps_and_guidance_share_a_batch(
    network: VoxCPMNetwork, modules: Arrays
) -> None:
    wanted = [(steps, guidance) for steps, guidance, _ in flows(modules)]
    for found, (_, _, expected) in zip(solve(network, modules, wanted), flows(modules), strict=True):
        close(found, expected, FLOW_LIMIT)


def solve(network: VoxCPMNetwork, modules: Arrays, wanted: list[tuple[int, float]]) -> list[Tensor]:
    """For each number of steps and guidance the patches (B, D, P), all solved in one batch."""
    mu = modules["cfm.mu"].unflatten(1, (network.velocity.mu_tokens, -1))
    batch, times = len(mu), TimeTable(network.velocity, torch.float32)
    rows = batch * len(wanted)
    solver = PatchSolver(network.velocity, times, rows, network.decoder_rotation())

    def each(values: list[float]) -> Tensor:
        return torch.tensor(values).repeat_interleave(batch)

    solver.begin(
        modules["cfm.noise"].mT.repeat(len(wanted), 1, 1),
        mu.repeat(len(wanted), 1, 1),
        modules["cfm.cond"].mT.repeat(len(wanted), 1, 1),
        guidance=each([guidance for _, guidance in wanted]),
        first=each([times.first(steps) for steps, _ in wanted]),
        evaluations=each([times.evaluations(steps) for steps, _ in wanted]),
    )
    for _ in range(max(times.evaluations(steps) for steps, _ in wanted)):
        solver.euler(rows)
    return list(solver.x.mT.split(batch))


def test_stop_head(network: VoxCPMNetwork, modules: Arrays) -> None:
    close(network.stop_logits(modules["stop.in"]), modules["stop.logits"], LIMIT)


def test_fusion(network: VoxCPMNetwork, modules: Arrays) -> None:
    if not network.dims.is_version_2:
        assert "fusion.out" not in modules
        return
    close(network._fused(modules["fusion.lm"], modules["fusion.enc"]), modules["fusion.out"], LIMIT)
