"""S2Mel on a GPU: what it makes on a CPU, from whole segments and from their next codes, without needless waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from gpu_fixture import Gpu
from pretended_gpu import PretendedGpu
from s2mel_golden import GoldenS2Mel

from deployments.indextts2.s2mel.job import Mel, S2MelJob
from deployments.indextts2.s2mel.networks import load_s2mel


@pytest.fixture(scope="module")
def golden_s2mel(golden_back: Path) -> GoldenS2Mel:
    return GoldenS2Mel.load(golden_back)


def on(device: str, golden: GoldenS2Mel, folder: Path, dtype: torch.dtype = torch.float32) -> GoldenS2Mel:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    networks = load_s2mel(folder / "s2mel.pth", config, device=device, dtype=dtype)
    return replace(golden, networks=networks, embedding=deepcopy(golden.embedding).to(device))


def jobs_of(golden: GoldenS2Mel) -> list[S2MelJob]:
    """Several lengths, steps and guidances; the last one goes on from frames that are final."""
    jobs = [
        golden.job(name, steps=2 + i, guidance=0.0 if i == 1 else 0.7, seed=i, segment=f"{name}-{i}")
        for i, name in enumerate(golden.names)
    ]
    noise = np.random.default_rng(1).normal(size=(golden.mel_channels, 7)).astype(np.float32)
    return [*jobs, golden.chunk(replace(jobs[0], segment="chunk"), len(jobs[0].codes) - 3, noise - 5)]


async def mels(golden: GoldenS2Mel, jobs: Sequence[S2MelJob]) -> list[Mel]:
    """Together; then the last one again, in two jobs of which the second brings the rest of the codes."""
    engine = golden.engine()
    engine.start()
    try:
        made = [reply.value for reply in await asyncio.gather(*map(engine.mel, jobs))]
        half = len(jobs[0].codes) // 2
        first = replace(jobs[0], segment="halves", codes=jobs[0].codes[:half], latents=jobs[0].latents[:half])
        made.append((await engine.mel(first)).value)
        rest = replace(
            jobs[0],
            segment="halves",
            first_code=half,
            codes=jobs[0].codes[half:],
            latents=jobs[0].latents[half:],
            committed_frames=golden.frames(half) - 5,
        )
        made.append((await engine.mel(rest)).value)
    finally:
        engine.stop()
    assert all(mel is not None for mel in made)
    return [mel for mel in made if mel is not None]


@pytest.mark.slow
@pytest.mark.gpu
async def test_mels(golden_s2mel: GoldenS2Mel, golden_back: Path, gpu: Gpu) -> None:
    known = await mels(golden_s2mel, jobs_of(golden_s2mel))
    found = await mels(on(gpu.device, golden_s2mel, golden_back), jobs_of(golden_s2mel))
    for mel, expected in zip(found, known, strict=True):
        gpu.assert_close(mel, expected)


@pytest.mark.slow
@pytest.mark.gpu
async def test_half_precision(golden_s2mel: GoldenS2Mel, golden_back: Path, gpu: Gpu) -> None:
    known = await mels(golden_s2mel, jobs_of(golden_s2mel))
    half = on(gpu.device, golden_s2mel, golden_back, torch.bfloat16)
    for mel, expected in zip(await mels(half, jobs_of(half)), known, strict=True):
        assert np.linalg.norm(mel - expected) < 0.15 * np.linalg.norm(expected - expected.mean())


@pytest.mark.slow
async def test_it_waits_for_finished_mels_alone(
    golden_s2mel: GoldenS2Mel, golden_back: Path, pretended_gpu: PretendedGpu
) -> None:
    """A new row must not stop those under way."""
    golden = on("cuda", golden_s2mel, golden_back)
    pretended_gpu.reset()
    made = await mels(golden, jobs_of(golden))
    assert pretended_gpu.waits == {"cpu": len(made)}
