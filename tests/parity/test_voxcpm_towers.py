"""Variants of the transformer tower, and times of Euler steps, against the golden data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from golden_close import close
from golden_voxcpm import Arrays, arrays
from safetensors.torch import load_file
from torch import Tensor, nn

from deployments.networks.packed_linear import can_pack, pack_linears
from deployments.voxcpm.config_section import Section
from deployments.voxcpm.dims import LM_NAMES, TowerDims, tower_from
from deployments.voxcpm.lm.attention import AttendSpans, SlotSpan, attend_all
from deployments.voxcpm.lm.kv_slots import KvSlots
from deployments.voxcpm.lm.rope import RopeTable, Rotation
from deployments.voxcpm.lm.tower import Tower, fuse_projections
from deployments.voxcpm.patch.times import time_embedding, time_grid
from deployments.weights.tensors import load_strict, subset, without_values

LIMIT = 2e-5
ANGLE_ROUNDING = 1.3e-4  # of sines of angles up to 1000 in float32: two units in their last place
ROOM = 64
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


@pytest.fixture(scope="module")
def variants(golden: Path) -> Path:
    return golden / "voxcpm" / "variants"


@pytest.fixture(scope="module")
def io(variants: Path) -> Arrays:
    return arrays(variants / "io.npz")


@pytest.fixture(scope="module")
def times(variants: Path) -> Arrays:
    return arrays(variants / "time.npz")


class TowerBench:
    def __init__(self, folder: Path, variant: str, *, joined: bool) -> None:
        config = json.loads((folder / "configs.json").read_text())[variant]
        lm = Section(config, variant)
        self.dims: TowerDims = tower_from(lm, lm.number("num_hidden_layers"), lm, LM_NAMES)
        with without_values():
            self.tower = Tower(self.dims)
        load_strict(self.tower, subset(load_file(folder / "weights.safetensors"), variant), source=variant)
        if joined:
            fuse_projections(self.tower)
            if can_pack(torch.device("cpu"), torch.float32):
                pack_linears(self.tower, keep=nn.Embedding)

    def rotation(self, positions: Tensor) -> Rotation | None:
        dims = self.dims
        return None if dims.rope is None else RopeTable(dims.rope, dims.head_dim, ROOM, "cpu").at(positions)

    @torch.inference_mode()
    def spans(self, cache: KvSlots, spans: list[SlotSpan], rows: Tensor) -> Tensor:
        attend = AttendSpans(cache, spans, self.dims.heads // self.dims.kv_heads)
        return self.tower(rows, attend, self.rotation(attend.positions))

    def new_cache(self, slots: int) -> KvSlots:
        return KvSlots(self.dims, layers=self.dims.layers, slots=slots, max_length=ROOM)


@pytest.fixture(params=["mup", "longrope", "norope"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[False, True], ids=["as-stored", "joined"])
def bench(request: pytest.FixtureRequest, variants: Path, variant: str) -> TowerBench:
    return TowerBench(variants, variant, joined=request.param)


def test_causal(bench: TowerBench, variant: str, io: Arrays) -> None:
    rows = io[f"{variant}.in"]
    batch, length = rows.shape[:2]
    spans = [SlotSpan(slot, 0, length) for slot in range(batch)]
    out = bench.spans(bench.new_cache(batch), spans, rows.flatten(0, 1))
    close(out.view_as(rows), io[f"{variant}.causal"], LIMIT)


def test_bidirectional(bench: TowerBench, variant: str, io: Arrays) -> None:
    rows = io[f"{variant}.in"]
    with torch.inference_mode():
        out = bench.tower(rows, attend_all, bench.rotation(torch.arange(rows.shape[1])))
    close(out, io[f"{variant}.bidirectional"], LIMIT)


def test_in_pieces_and_steps(bench: TowerBench, variant: str, io: Arrays) -> None:
    rows, [name] = io[f"{variant}.in"][0], [n for n in io if n.startswith(f"{variant}.steps_")]
    first, cache = len(rows) - io[name].shape[1], bench.new_cache(1)
    for start, stop in ((0, 7), (7, 8), (8, first), *((n, n + 1) for n in range(first, len(rows)))):
        out = bench.spans(cache, [SlotSpan(0, start, stop - start)], rows[start:stop])
        close(out, io[f"{variant}.causal"][0, start:stop], LIMIT)
        if start >= first:
            close(out[0], io[name][0, start - first], LIMIT)


def numbers_of_steps(times: Arrays) -> list[int]:
    return sorted({int(name.split(".")[0][1:]) for name in times})


@pytest.mark.parametrize("dtype", DTYPES)
def test_times_of_euler_steps(times: Arrays, dtype: str) -> None:
    for steps in numbers_of_steps(times):
        grid = time_grid(steps, DTYPES[dtype])
        assert grid.times.float().tolist() == times[f"n{steps}.{dtype}.t_eval"].tolist()
        span = times[f"n{steps}.{dtype}.t_span"]
        close(grid.deltas.float(), span[-grid.evaluations - 1 : -1] - span[-grid.evaluations :], 2e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_time_embeddings(times: Arrays, dtype: str) -> None:
    for steps in numbers_of_steps(times):
        expected = next(v for n, v in times.items() if n.startswith(f"n{steps}.{dtype}.embedding"))
        found = time_embedding(time_grid(steps, DTYPES[dtype]).times, expected.shape[1]).float()
        limit = ANGLE_ROUNDING if dtype == "f32" else 0.0
        torch.testing.assert_close(found, expected, atol=limit, rtol=0)


def test_the_first_steps_do_nothing() -> None:
    assert [time_grid(steps, torch.float32).evaluations for steps in (1, 2, 10, 48, 49, 50)] == [
        0, 1, 9, 47, 47, 48,
    ]  # fmt: skip
