"""The vocoder's service and deployment class, without a Ray cluster."""

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
from ray.serve.batching import _BatchQueue
from safetensors.torch import load_file, save_file

from deployments.core.errors import CheckpointError, InvalidRequest, Unavailable
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.vocoder.deployment import Vocoder
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.service import VocoderService, load_service
from deployments.indextts2.vocoder.vocoder import load_vocoder
from deployments.networks.istft import IstftDims, IstftVocoder
from deployments.weights.convert import convert


@pytest.fixture(autouse=True)
def _batches_outside_a_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    # All that `serve.batch` wants of a replica is to warn about its options.
    monkeypatch.setattr(_BatchQueue, "_warn_if_max_batch_size_exceeds_max_ongoing_requests", lambda _: None)


@pytest.fixture
def directory(golden_back: Path, tmp_path: Path) -> Path:
    """The files of this stage alone, in a folder that config.yaml names."""
    (tmp_path / "config.yaml").write_text("vocoder: {type: bigvgan, name: voc}")
    (tmp_path / "voc").mkdir()
    for name in ("config.json", "bigvgan_generator.pt"):
        shutil.copy(golden_back / name, tmp_path / "voc" / name)
    return tmp_path


@pytest.fixture
def long_pair(golden_back: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The longest golden mel (80, T) and its wave."""
    data = load_file(golden_back / "bigvgan.safetensors")
    name = next(name for name in data if name.startswith("mel_full_"))
    return data[name][0].numpy(), data[name.replace("mel", "wav")].flatten().numpy()


@pytest.fixture
def mel(long_pair: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    return long_pair[0]


@pytest.fixture
def service(golden_back: Path) -> VocoderService:
    return VocoderService(load_vocoder(golden_back), device="cpu", max_batch_frames=500)


async def started(directory: Path, **options: Any) -> Vocoder:
    stage = Vocoder.__new__(Vocoder)
    await stage.__init__(str(directory), **options)  # type: ignore[misc]
    return stage


class Counting:
    """A vocoder that records its batches, and fails where a mel holds the mark."""

    mel_channels, halo_frames, hop, sample_rate_hz = 2, 3, 4, 100
    mark = 99.0

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        self.batches.append((mel.shape[0], mel.shape[2]))
        if (mel == self.mark).any():
            raise RuntimeError("marked")
        return mel[:, 0].repeat_interleave(self.hop, dim=1)


def ramp(frames: int) -> np.ndarray[Any, Any]:
    return np.tile(np.arange(frames, dtype=np.float32), (2, 1))


async def test_windows_of_a_stream_equal_one_pass(
    directory: Path, golden_back: Path, long_pair: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
) -> None:
    mel, golden = long_pair
    stage = await started(directory, max_batch=3, batch_wait_s=0.01)
    halo, hop, rate_hz = await stage.halo()
    vocoder = load_vocoder(golden_back)
    assert (halo, hop, rate_hz) == (vocoder.halo_frames, vocoder.hop, vocoder.sample_rate_hz)
    whole = await stage.vocode(VocodeJob(mel, 0, mel.shape[1]))
    np.testing.assert_allclose(whole, golden, atol=5e-5, rtol=0)
    jobs = []
    cuts = sorted({0, 1, *np.random.default_rng(1).integers(1, mel.shape[1], 3).tolist(), mel.shape[1]})
    for start, end in pairwise(cuts):
        first, last = max(0, start - halo), min(mel.shape[1], end + halo)
        jobs.append(VocodeJob(mel[:, first:last], start - first, end - first))
    pieces = await asyncio.gather(*map(stage.vocode, jobs))
    assert [len(piece) for piece in pieces] == [hop * (job.end - job.start) for job in jobs]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5, rtol=0)


async def test_requests_that_arrive_together_share_a_batch(
    directory: Path, mel: np.ndarray[Any, Any]
) -> None:
    stage = await started(directory, max_batch=4, batch_wait_s=0.05)
    job = VocodeJob(mel[:, :20], 0, 20)
    results = await asyncio.gather(*(stage.vocode(job) for _ in range(8)))
    assert all(np.allclose(result, results[0], atol=1e-6) for result in results)
    stats = await stage.stats()
    assert (stats.jobs, stats.batches, stats.frames) == (8, 2, 160)
    assert stats.seconds > 0


async def test_without_a_wait_batches_form_while_one_runs(directory: Path, mel: np.ndarray[Any, Any]) -> None:
    stage = await started(directory, max_batch=4)
    job = VocodeJob(mel[:, :20], 0, 20)

    async def later() -> Any:
        await asyncio.sleep(0.002)
        return await stage.vocode(job)

    await asyncio.gather(stage.vocode(job), *(later() for _ in range(4)))
    assert (await stage.stats()).batches <= 3


async def test_a_bad_job_fails_alone(directory: Path, mel: np.ndarray[Any, Any]) -> None:
    stage = await started(directory, max_batch=8, batch_wait_s=0.02)
    good, bad = (
        VocodeJob(mel, 5, 9),
        [
            VocodeJob(mel[1:], 5, 9),
            VocodeJob(mel[0], 0, 1),
            VocodeJob(mel, 9, 9),
            VocodeJob(mel, -1, 4),
            VocodeJob(mel, 0, mel.shape[1] + 1),
            VocodeJob(np.full_like(mel, np.nan), 5, 9),
        ],
    )
    results = await asyncio.gather(*map(stage.vocode, [good, *bad, good]), return_exceptions=True)
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[-1], np.ndarray)
    assert all(isinstance(each, InvalidRequest) for each in results[1:-1])
    assert await stage.ready()


def test_batches_are_of_equal_length_and_bounded() -> None:
    vocoder = Counting()
    service = VocoderService(vocoder, device="cpu", max_batch_frames=40)
    jobs = [VocodeJob(ramp(frames), 0, frames) for frames in (20, 10, 20, 10, 10, 20, 90, 10, 10)]
    results = service.vocode(jobs)
    assert vocoder.batches == [(4, 10), (1, 10), (2, 20), (1, 20), (1, 90)]
    for job, result in zip(jobs, results, strict=True):
        assert isinstance(result, np.ndarray)
        assert np.array_equal(result, np.repeat(job.mel[0], 4))


def test_a_failing_member_of_a_pass_fails_alone() -> None:
    vocoder = Counting()
    service = VocoderService(vocoder, device="cpu", max_batch_frames=1000)
    jobs = [VocodeJob(ramp(10), 0, 10) for _ in range(3)]
    jobs[1].mel[0, 4] = vocoder.mark
    results = service.vocode(jobs)
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[0], np.ndarray)
    assert isinstance(results[2], np.ndarray)
    assert service.error is None  # only a GPU is lost after an error


async def test_a_lost_device_fails_the_health_check(directory: Path) -> None:
    stage = await started(directory)
    stage._service.error = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(Unavailable, match="illegal memory access"):
        stage.check_health()


async def test_an_istft_vocoder_is_served_as_well(directory: Path) -> None:
    (directory / "config.yaml").write_text("vocoder: {type: istft, name: voc}")
    folder = directory / "voc"
    (folder / "bigvgan_generator.pt").unlink()
    dims = {"hidden": 16, "inner": 24, "layers": 2, "n_fft": 64, "hop": 16}
    (folder / "config.json").write_text(json.dumps({"type": "istft"} | dims))
    network = IstftVocoder(IstftDims(**dims))
    save_file(network.state_dict(), folder / "model.safetensors")
    stage = await started(directory)
    assert await stage.halo() == (network.halo_frames, 16, network.sample_rate_hz)
    wave = await stage.vocode(VocodeJob(np.zeros((network.mel_channels, 30), np.float32), 3, 30))
    assert wave.shape == (27 * 16,)


@pytest.mark.parametrize("lost", ["config.yaml", "voc/config.json", "voc/bigvgan_generator.pt"])
async def test_a_missing_file_is_named(directory: Path, lost: str) -> None:
    (directory / lost).unlink()
    with pytest.raises(CheckpointError, match=re.escape(lost)):
        await started(directory)


def test_a_converted_generator_needs_no_pickle_beside_it(directory: Path) -> None:
    convert(directory)
    (directory / "voc" / "bigvgan_generator.pt").unlink()
    checkpoint = IndexTTSCheckpoint(directory)
    assert (
        load_service(checkpoint, device="cpu", dtype=torch.float32, max_batch_frames=500).vocoder.hop == 256
    )


@pytest.mark.parametrize("kind", ["bigvgan", "istft"])
def test_bfloat16_is_close_to_float32(golden_back: Path, directory: Path, kind: str) -> None:
    folder = golden_back
    if kind == "istft":
        folder = directory / "voc"
        (folder / "config.json").write_text('{"type": "istft"}')
        save_file(IstftVocoder(IstftDims()).state_dict(), folder / "model.safetensors")
    exact, narrow = load_vocoder(folder), load_vocoder(folder, dtype=torch.bfloat16)
    mel = torch.randn(1, exact.mel_channels, 12) - 5
    with torch.inference_mode():
        wave, close = exact(mel), narrow(mel)
    assert close.dtype == torch.float32
    assert (close - wave).norm() < 0.1 * wave.norm()
