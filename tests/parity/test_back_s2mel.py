"""s2mel against the golden data: length regulator, estimator, flow matching, ragged batches."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.codebook import load_code_embedding
from deployments.indextts2.s2mel.flow import FlowRow, FlowSolver, euler_grid
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.s2mel.layout import make_layout
from deployments.indextts2.s2mel.length_regulator import nearest_index
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel

SINGLE = 1e-5
MASKED = 5e-5
ONE_EVALUATION = 2e-5
FLOW = 1e-4


@pytest.fixture(scope="module")
def meta(golden_back: Path) -> dict[str, Any]:
    return json.loads((golden_back / "meta.json").read_text())


@pytest.fixture(scope="module")
def names(meta: dict[str, Any]) -> list[str]:
    return list(meta["codes"])


@pytest.fixture(scope="module")
def networks(golden_back: Path) -> S2MelNetworks:
    return load_s2mel(golden_back / "s2mel.pth", yaml.safe_load((golden_back / "config.yaml").read_text()))


@pytest.fixture(scope="module")
def solver(networks: S2MelNetworks) -> FlowSolver:
    return FlowSolver(networks.estimator)


@pytest.fixture(scope="module")
def regulation(golden_back: Path) -> dict[str, Tensor]:
    return load_file(golden_back / "length_regulator.safetensors")


@pytest.fixture(scope="module")
def dit(golden_back: Path) -> dict[str, Tensor]:
    return load_file(golden_back / "dit.safetensors")


@pytest.fixture(scope="module")
def cfm(golden_back: Path) -> dict[str, Tensor]:
    return load_file(golden_back / "cfm.safetensors")


def test_mel_frames(golden_back: Path, regulation: dict[str, Tensor]) -> None:
    """Exact integers give what the model's float32 gives, for as many codes as it can make."""
    frames_per_code = IndexTTSCheckpoint(golden_back).frames_per_code
    expected = next(value for name, value in regulation.items() if name.startswith("target_lengths_"))
    assert [mel_frames(n, frames_per_code) for n in range(len(expected))] == expected.tolist()


def test_nearest_index_is_that_of_float32(regulation: dict[str, Tensor]) -> None:
    cases = [
        (re.fullmatch(r"nearest_index_(\d+)_to_(\d+)", name), value) for name, value in regulation.items()
    ]
    found = [(match, value) for match, value in cases if match]
    assert found
    for match, value in found:
        assert nearest_index(int(match[1]), int(match[2])).tolist() == value.tolist()


def test_gpt_layer(networks: S2MelNetworks, regulation: dict[str, Tensor], names: list[str]) -> None:
    for name in names:
        close(networks.gpt_layer(regulation[f"latent_{name}"]), regulation[f"gpt_layer_out_{name}"], SINGLE)


def regulator_cases(regulation: dict[str, Tensor], names: list[str]) -> list[tuple[Tensor, Tensor]]:
    cases = []
    for name in names:
        cases.append((regulation[f"S_ref_{name}"], regulation[f"prompt_condition_{name}"]))
        sum_of = regulation[f"code_embedding_{name}"] + regulation[f"gpt_layer_out_{name}"]
        cases.append((sum_of, regulation[f"cond_{name}"]))
    for name, value in regulation.items():
        if match := re.fullmatch(r"out_(\d+)_to_(\d+)", name):
            cases.append((regulation[f"S_{match[1]}"], value))
    return [(given[0], expected[0]) for given, expected in cases]


def test_regulator_single(networks: S2MelNetworks, regulation: dict[str, Tensor], names: list[str]) -> None:
    for given, expected in regulator_cases(regulation, names):
        [out] = networks.length_regulator([given], [len(expected)])
        close(out, expected, SINGLE)


def test_regulator_ragged_batch(
    networks: S2MelNetworks, regulation: dict[str, Tensor], names: list[str]
) -> None:
    given, expected = zip(*regulator_cases(regulation, names), strict=True)
    for out, right in zip(
        networks.length_regulator(given, [len(e) for e in expected]), expected, strict=True
    ):
        close(out, right, MASKED)


def evaluate(solver: FlowSolver, given: dict[str, Tensor], prefix: str, lengths: list[int]) -> Tensor:
    """The estimator alone, rows as they are in the file; (B, 80, T)."""
    estimator = solver.estimator
    x, prompt_x = given[f"{prefix}x"].mT, given[f"{prefix}prompt_x"]
    rows = zip(prompt_x, given[f"{prefix}cond"], given[f"{prefix}style"], strict=True)
    static = torch.stack([estimator.merge_static(*row) for row in rows])
    layout = make_layout(lengths, [0] * len(lengths), halo=0, padding=estimator.dims.wavenet_padding)
    times = estimator.project_times(given[f"{prefix}t"])
    return estimator(estimator.merge_noise(x) + static, x, times, layout).mT


def test_estimator_and_its_intermediates(solver: FlowSolver, dit: dict[str, Tensor]) -> None:
    estimator = solver.estimator
    transformer = estimator.transformer
    seen: dict[str, Tensor] = {}
    handles = []

    def watch(name: str, module: torch.nn.Module, of_input: bool = False) -> None:
        def hook(_: torch.nn.Module, args: tuple[Any, ...], out: Tensor) -> None:
            seen[name] = args[0] if of_input else out

        handles.append(module.register_forward_hook(hook))

    watch("t1", estimator.t_embedder)
    watch("t2", estimator.t_embedder2)
    watch("merged", transformer, of_input=True)
    watch("layer0_attention", transformer.layers[0].attention)
    watch("layer0", transformer.layers[0])
    watch("layer_last", transformer.layers[-1])
    watch("transformer", transformer)
    watch("skip_linear", estimator.skip_linear)
    watch("wavenet", estimator.wavenet)
    watch("final_layer", estimator.final_layer)
    frames = dit["x"].shape[-1]
    try:
        close(evaluate(solver, dit, "", [frames] * len(dit["x"])), dit["out"], ONE_EVALUATION)
    finally:
        for handle in handles:
            handle.remove()
    expected = {name.removeprefix("mid_"): value for name, value in dit.items() if name.startswith("mid_")}
    assert expected.keys() == seen.keys()
    for name, value in expected.items():
        close(seen[name], value, ONE_EVALUATION)


def test_unconditional_row_keeps_only_the_bias(solver: FlowSolver, dit: dict[str, Tensor]) -> None:
    estimator = solver.estimator
    zeros = (torch.zeros_like(dit[name][1]) for name in ("prompt_x", "cond", "style"))
    static = estimator.merge_static(*zeros)
    close(estimator.merge_unconditional().expand_as(static), static, SINGLE)


def test_estimator_ragged_batch(solver: FlowSolver, dit: dict[str, Tensor]) -> None:
    lengths = dit["masked_x_lens"].tolist()
    longest, short = max(lengths), min(lengths)
    row = lengths.index(short)
    out = evaluate(solver, dit, "masked_", lengths)
    close(out[row, :, :short], dit["masked_row1_single"][0], ONE_EVALUATION)
    full = lengths.index(longest)
    close(out[full], dit["masked_out_upstream_padded"][full], ONE_EVALUATION)


def test_time_is_accumulated_in_float32(cfm: dict[str, Tensor]) -> None:
    found = [(re.fullmatch(r"t_accumulated_(\d+)", name), value) for name, value in cfm.items()]
    [(match, expected)] = [(match, value) for match, value in found if match]
    assert euler_grid(int(match[1])).times == tuple(expected.tolist())


def admit(solver: FlowSolver, cfm: dict[str, Tensor], name: str, steps: int, guidance: float) -> FlowRow:
    return solver.admit(
        *(cfm[f"{part}_{name}"][0] for part in ("z", "prompt_mel", "mu", "style")),
        steps=steps,
        guidance=guidance,
    )


def outputs(cfm: dict[str, Tensor]) -> list[tuple[str, int, float, Tensor]]:
    """(utterance, steps, guidance, mel) of every result in the file."""
    found = [(re.fullmatch(r"out_(\w+?)_steps(\d+)_cfg([\d.]+)", name), value) for name, value in cfm.items()]
    return [(match[1], int(match[2]), float(match[3]), value[0]) for match, value in found if match]


def test_noise_is_the_default_cpu_draw(cfm: dict[str, Tensor], meta: dict[str, Any]) -> None:
    for name, seed in meta["noise_seed_cpu"].items():
        z = cfm[f"z_{name}"]
        assert torch.equal(torch.randn(z.shape, generator=torch.Generator().manual_seed(seed)), z)


@pytest.mark.slow
def test_flow_single_rows(solver: FlowSolver, cfm: dict[str, Tensor]) -> None:
    cases = outputs(cfm)
    assert cases
    for name, steps, guidance, expected in cases:
        [mel] = solver.solve([admit(solver, cfm, name, steps, guidance)])
        close(mel, expected, FLOW)


@pytest.mark.slow
def test_flow_all_rows_in_one_ragged_batch(solver: FlowSolver, cfm: dict[str, Tensor]) -> None:
    """Other prompts, lengths, guidance and step counts (thus times) share every evaluation."""
    cases = outputs(cfm)
    rows = [admit(solver, cfm, name, steps, guidance) for name, steps, guidance, _ in cases]
    for mel, (_, _, _, expected) in zip(solver.solve(rows), cases, strict=True):
        close(mel, expected, FLOW)


@pytest.mark.slow
def test_flow_rows_that_join_later(solver: FlowSolver, cfm: dict[str, Tensor]) -> None:
    """One row enters after every step, in alternating order; each ends as if alone."""
    waiting = outputs(cfm)
    active: list[tuple[FlowRow, Tensor]] = []
    while waiting or active:
        if waiting:
            name, steps, guidance, expected = waiting.pop()
            active.insert(len(waiting) % 2, (admit(solver, cfm, name, steps, guidance), expected))
        solver.advance([row for row, _ in active])
        for row, expected in active:
            if row.done:
                close(row.mel(), expected, FLOW)
        active = [(row, expected) for row, expected in active if not row.done]


def test_flow_trajectory(solver: FlowSolver, cfm: dict[str, Tensor]) -> None:
    found = [re.fullmatch(r"(traj_(\w+?)_steps(\d+)_cfg([\d.]+))_x", name) for name in cfm]
    [match] = [match for match in found if match]
    row = admit(solver, cfm, match[2], int(match[3]), float(match[4]))
    for x, t in zip(cfm[f"{match[1]}_x"], cfm[f"{match[1]}_t"], strict=True):
        assert row.t == t.item()
        close(row.mel(), x, FLOW)
        solver.advance([row])
    assert row.done
    assert not row.x[: row.prompt_frames].any()


def test_code_embedding(golden_front: Path) -> None:
    embed = load_code_embedding(IndexTTSCheckpoint(golden_front / "ckpt").path("semantic_codec"))
    codec = load_file(golden_front / "codec.safetensors")
    close(embed(codec["quantize.codes"]), codec["quantize.emb"], SINGLE)
    close(embed(codec["quantize.codes"]), codec["vq2emb.of_codes"].mT, SINGLE)
    close(embed(codec["rand.codes"]), codec["rand.vq2emb"].mT, SINGLE)
