"""VoxCPM's step model on a GPU: the audio of a CPU, with CUDA graphs and without, and one wait a step."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from golden_voxcpm import VERSIONS, GoldenVoxCPM, Said, StepBench, patches_of, samples_of
from gpu_fixture import Gpu
from pretended_cuda import PretendedCuda
from pretended_gpu import GPU, PretendedGpu, is_on_gpu

from deployments.core.logs import logger
from deployments.voxcpm.step.model import PatchModel

TINY = Path(__file__).parents[2] / "golden/voxcpm"
SLOTS = 6
EULER_STEPS = (10, 4, 6, 1)


@pytest.fixture(scope="module", params=VERSIONS)
def known(request: pytest.FixtureRequest) -> GoldenVoxCPM:
    return GoldenVoxCPM(TINY / request.param)


def said(known: GoldenVoxCPM, model: PatchModel) -> list[Said]:
    """All cases, one more in every second step."""
    bench = StepBench(model)
    rows = []
    for number, case in enumerate(known.names):
        rows.append(bench.join(known.job(case, seed=number, euler_steps=EULER_STEPS[number % 4])))
        bench.step()
        bench.step()
    bench.finish()
    return [bench.rows[row] for row in rows]


@pytest.fixture(scope="module")
def expected(known: GoldenVoxCPM) -> list[Said]:
    return said(known, known.model(slots=SLOTS))


def assert_same(found: list[Said], expected: list[Said], gpu: Gpu) -> None:
    for one, other in zip(found, expected, strict=True):
        assert [chunk.ended for chunk in one] == [chunk.ended for chunk in other]
        gpu.assert_close(patches_of(one), patches_of(other))
        gpu.assert_close(samples_of(one), samples_of(other))


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [False, True])
def test_the_audio_of_a_cpu(
    known: GoldenVoxCPM, expected: list[Said], graphs: bool, gpu: Gpu, caplog: pytest.LogCaptureFixture
) -> None:
    logger.addHandler(caplog.handler)  # it does not propagate
    try:
        assert_same(said(known, known.model(gpu.device, slots=SLOTS, graphs=graphs)), expected, gpu)
    finally:
        logger.removeHandler(caplog.handler)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_steps_are_replays(known: GoldenVoxCPM, pretended_cuda: PretendedCuda) -> None:
    """Nothing of a step is worked out on the host, or a replay would repeat what the capture saw."""
    model = known.model("cuda", slots=SLOTS, graphs=True)
    assert pretended_cuda.captured_on == {GPU}
    before = len(pretended_cuda.graphs)
    bench = StepBench(model)
    for case in known.names[:2]:
        bench.join(known.job(case, euler_steps=10, min_patches=1000, max_patches=6))
    for _ in range(6):
        bench.step()
    assert not bench.running
    assert len(pretended_cuda.graphs) == before
    replays = sum(graph.replays for graph in pretended_cuda.graphs)
    # In each step beginning, nine evaluations, end; language models in all but the first.
    assert replays == 6 * (1 + 9 + 1) + 5


def test_a_capture_that_fails_leaves_no_trace(
    known: GoldenVoxCPM, expected: list[Said], pretended_cuda: PretendedCuda
) -> None:
    pretended_cuda.fail_at = 2
    model = known.model("cuda", slots=SLOTS, graphs=True)
    assert len(pretended_cuda.streams) == 1, "the thread goes on with the stream it had"
    assert_same(said(known, model), expected, Gpu(is_real=False))
    assert sum(graph.replays for graph in pretended_cuda.graphs) == 0


@pytest.mark.parametrize("graphs", [False, True])
def test_a_step_waits_once(known: GoldenVoxCPM, graphs: bool, pretended_gpu: PretendedGpu) -> None:
    model = known.model("cuda", slots=SLOTS, graphs=graphs)
    bench = StepBench(model)
    for case in known.names[:3]:
        bench.join(known.job(case, min_patches=1000, max_patches=30))
    pretended_gpu.reset()
    bench.step()
    assert pretended_gpu.waits == {"cpu": 1}, "while prefixes are taken in as well"
    pretended_gpu.reset()
    bench.step()
    assert pretended_gpu.waits == {"cpu": 1}, "samples, patches and stop logits together"
    assert pretended_gpu.uploads <= 3, "rows of the language models, plan and noise of the decoder"


def test_nothing_is_left_on_the_host(known: GoldenVoxCPM, pretended_gpu: PretendedGpu) -> None:
    model = known.model("cuda", slots=SLOTS)
    network = model._network
    assert all(map(is_on_gpu, [*network.parameters(), *network.buffers()]))
    states = model._states
    kept = [states.base, states.residual, states.patch, states.cache.keys, states.cache.values]
    assert all(map(is_on_gpu, kept))
