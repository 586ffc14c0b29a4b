"""Both vocoders on a GPU: what they make on a CPU, whatever windows share a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_fixture import Gpu
from pretended_gpu import PretendedGpu

from deployments.core.speech import Samples
from deployments.indextts2.settings import VocoderSettings
from deployments.indextts2.vocoder.engine import VocoderEngine
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import VocoderNetwork, WindowVocoder, load_vocoder
from deployments.networks.istft import IstftDims, IstftVocoder

FRAMES = 120


@pytest.fixture
def bigvgan(golden_back: Path) -> Callable[[str], VocoderNetwork]:
    return lambda device: load_vocoder(golden_back, device=device)


def istft(device: str) -> VocoderNetwork:
    torch.manual_seed(11)
    network = IstftVocoder(IstftDims(hidden=16, inner=32, layers=2, mel_fits=1)).requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.to(device)


def jobs_for(network: VocoderNetwork) -> list[VocodeJob]:
    """Two halves, which share a pass, and two windows that do not."""
    noise = np.random.default_rng(2).normal(size=(network.mel_channels, FRAMES))
    mel = noise.astype(np.float32) - 5
    spans = ((mel, 0, 60), (mel, 60, FRAMES), (mel, 50, 60), (mel[:, :76], 30, 40))
    return [VocodeJob("test", part, start, end) for part, start, end in spans]


async def vocoded(network: VocoderNetwork, device: str) -> list[Samples]:
    engine = VocoderEngine(network, VocoderSettings(), device=device)
    try:
        replies = await asyncio.gather(*(engine.vocode(job) for job in jobs_for(network)))
    finally:
        engine.stop()
    return [reply.value for reply in replies]


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["bigvgan", "istft"])
async def test_waves(kind: str, bigvgan: Callable[[str], VocoderNetwork], gpu: Gpu) -> None:
    load = bigvgan if kind == "bigvgan" else istft
    known = await vocoded(load("cpu"), "cpu")
    found = await vocoded(load(gpu.device), gpu.device)
    for wave, expected in zip(found, known, strict=True):
        gpu.assert_close(wave, expected)


def test_a_pass_waits_for_its_waves_alone(pretended_gpu: PretendedGpu) -> None:
    vocoder = WindowVocoder(istft("cuda"), device="cuda")
    jobs = jobs_for(vocoder.network)[:2]
    vocoder.vocode(jobs)
    pretended_gpu.reset()
    vocoder.vocode(jobs)
    assert pretended_gpu.waits == {"cpu": 1}
    assert pretended_gpu.uploads == 1
