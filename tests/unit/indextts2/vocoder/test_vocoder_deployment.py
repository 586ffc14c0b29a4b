"""The vocoder's deployment class without a Ray cluster: files, batches, faults."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deployments.core.deadline import Deadline
from deployments.core.errors import CheckpointError, DeadlineExceeded, InvalidRequest, Unavailable
from deployments.core.speech import Samples
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import VocoderSettings
from deployments.indextts2.vocoder.deployment import Vocoder
from deployments.indextts2.vocoder.engine import VocoderEngine, load_engine
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import load_vocoder
from deployments.networks.istft import IstftDims, IstftVocoder
from deployments.weights.convert import convert

Array = np.ndarray[Any, Any]


@pytest.fixture
def directory(golden_back: Path, tmp_path: Path) -> Path:
    """The files of this stage alone, in a folder that config.yaml names."""
    (tmp_path / "config.yaml").write_text("vocoder: {type: bigvgan, name: voc}")
    (tmp_path / "voc").mkdir()
    for name in ("config.json", "bigvgan_generator.pt"):
        shutil.copy(golden_back / name, tmp_path / "voc" / name)
    return tmp_path


@pytest.fixture
def long_pair(golden_back: Path) -> tuple[Array, Array]:
    """The longest golden mel (80, T) and its wave."""
    data = load_file(golden_back / "bigvgan.safetensors")
    name = next(name for name in data if name.startswith("mel_full_"))
    return data[name][0].numpy(), data[name.replace("mel", "wav")].flatten().numpy()


@pytest.fixture
def mel(long_pair: tuple[Array, Array]) -> Array:
    return long_pair[0]


async def started(directory: Path, **settings: Any) -> Vocoder:
    stage = Vocoder.__new__(Vocoder)
    await stage.__init__(str(directory), "cpu", VocoderSettings(**settings))  # type: ignore[misc]
    return stage


def job_of(mel: Array, start: int, end: int, **more: Any) -> VocodeJob:
    return VocodeJob("test", mel, start, end, **more)


async def samples_of(stage: Vocoder | VocoderEngine, job: VocodeJob) -> Samples:
    return (await stage.vocode(job)).value


@pytest.mark.slow
async def test_windows_of_a_stream_equal_one_pass(
    directory: Path, golden_back: Path, long_pair: tuple[Array, Array]
) -> None:
    mel, golden = long_pair
    stage = await started(directory, max_batch=3, batch_wait_s=0.01)
    halo, hop, rate_hz = (await stage.halo()).value
    vocoder = load_vocoder(golden_back)
    assert (halo, hop, rate_hz) == (vocoder.halo_frames, vocoder.hop, vocoder.sample_rate_hz)
    whole = await samples_of(stage, job_of(mel, 0, mel.shape[1]))
    np.testing.assert_allclose(whole, golden, atol=5e-5, rtol=0)
    jobs = []
    cuts = sorted({0, 1, *np.random.default_rng(1).integers(1, mel.shape[1], 3).tolist(), mel.shape[1]})
    for start, end in pairwise(cuts):
        first, last = max(0, start - halo), min(mel.shape[1], end + halo)
        jobs.append(job_of(mel[:, first:last], start - first, end - first))
    pieces = await asyncio.gather(*(samples_of(stage, job) for job in jobs))
    assert [len(piece) for piece in pieces] == [hop * (job.end - job.start) for job in jobs]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5, rtol=0)


@pytest.mark.slow
async def test_requests_that_arrive_together_share_a_batch(directory: Path, mel: Array) -> None:
    stage = await started(directory, max_batch=4, batch_wait_s=0.05)
    job = job_of(mel[:, :20], 0, 20)
    results = await asyncio.gather(*(samples_of(stage, job) for _ in range(8)))
    assert all(np.allclose(result, results[0], atol=1e-6) for result in results)
    metrics = (await stage.halo()).metrics
    assert (metrics.finished, metrics.steps, metrics.rows_stepped, metrics.rows) == (8, 2, 8, 4)
    assert metrics.step_s > 0


@pytest.mark.slow
async def test_a_bad_job_fails_alone(directory: Path, mel: Array) -> None:
    stage = await started(directory, max_batch=8, batch_wait_s=0.02)
    jobs = [job_of(mel, 5, 9), job_of(mel[1:], 5, 9), job_of(mel, 5, 9, deadline=Deadline.after(-1))]
    results = await asyncio.gather(
        *(samples_of(stage, job) for job in [*jobs, jobs[0]]), return_exceptions=True
    )
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[1], InvalidRequest)
    assert isinstance(results[2], DeadlineExceeded)
    assert isinstance(results[3], np.ndarray)
    assert await stage.ready()


class Marked:
    """A vocoder that fails where a mel holds the mark."""

    mel_channels, halo_frames, hop, sample_rate_hz = 2, 3, 4, 100
    mark = 99.0

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        if (mel == self.mark).any():
            raise RuntimeError("marked")
        return mel[:, 0].repeat_interleave(self.hop, dim=1)


async def test_a_failing_member_of_a_pass_fails_alone() -> None:
    engine = VocoderEngine(Marked(), VocoderSettings())
    mels = [np.tile(np.arange(10, dtype=np.float32), (2, 1)) for _ in range(3)]
    mels[1][0, 4] = Marked.mark
    results = await asyncio.gather(
        *(samples_of(engine, job_of(mel, 0, 10)) for mel in mels), return_exceptions=True
    )
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[2], np.ndarray)
    engine.check_health()
    engine.stop()
    with pytest.raises(Unavailable, match="stopped"):
        await engine.vocode(job_of(mels[0], 0, 10))


async def test_an_istft_vocoder_is_served_as_well(directory: Path) -> None:
    (directory / "config.yaml").write_text("vocoder: {type: istft, name: voc}")
    folder = directory / "voc"
    (folder / "bigvgan_generator.pt").unlink()
    dims = {"hidden": 16, "inner": 24, "layers": 2, "n_fft": 64, "hop": 16}
    (folder / "config.json").write_text(json.dumps({"type": "istft"} | dims))
    network = IstftVocoder(IstftDims(**dims))
    save_file(network.state_dict(), folder / "model.safetensors")
    stage = await started(directory)
    assert (await stage.halo()).value == (network.halo_frames, 16, network.sample_rate_hz)
    wave = await samples_of(stage, job_of(np.zeros((network.mel_channels, 30), np.float32), 3, 30))
    assert wave.shape == (27 * 16,)


@pytest.mark.parametrize("lost", ["config.yaml", "voc/config.json", "voc/bigvgan_generator.pt"])
async def test_a_missing_file_is_named(directory: Path, lost: str) -> None:
    (directory / lost).unlink()
    with pytest.raises(CheckpointError, match=re.escape(lost)):
        await started(directory)


@pytest.mark.slow
def test_a_converted_generator_needs_no_pickle_beside_it(directory: Path) -> None:
    convert(directory)
    (directory / "voc" / "bigvgan_generator.pt").unlink()
    checkpoint = IndexTTSCheckpoint(directory)
    engine = load_engine(checkpoint, VocoderSettings(), device="cpu", dtype=torch.float32)
    assert engine.network.hop > 1
