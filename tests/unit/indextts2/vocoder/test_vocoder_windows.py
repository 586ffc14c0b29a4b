"""Windows of mels: what shares a pass, exact samples whatever it shares it with, and the vocoders of a folder."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deployments.core.errors import CheckpointError, InvalidRequest
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder, load_vocoder
from deployments.networks.istft import IstftDims, IstftVocoder

Array = np.ndarray[Any, Any]


class Counting:
    """A vocoder that records its passes."""

    mel_channels, halo_frames, hop, sample_rate_hz = 2, 3, 4, 100

    def __init__(self) -> None:
        self.passes: list[tuple[int, int]] = []

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        self.passes.append((mel.shape[0], mel.shape[2]))
        return mel[:, 0].repeat_interleave(self.hop, dim=1)


def ramp(frames: int) -> Array:
    return np.tile(np.arange(frames, dtype=np.float32), (2, 1))


def whole(mel: Array) -> VocodeJob:
    return VocodeJob("test", mel, 0, mel.shape[1])


def test_passes_are_of_equal_length_and_bounded() -> None:
    network = Counting()
    jobs = [whole(ramp(frames)) for frames in (20, 10, 20, 10, 10, 20, 90, 10, 10)]
    results = WindowVocoder(network, max_frames=40).vocode(jobs)
    assert network.passes == [(4, 10), (1, 10), (2, 20), (1, 20), (1, 90)]
    for job, result in zip(jobs, results, strict=True):
        assert np.array_equal(result, np.repeat(job.mel[0], 4))


def test_a_window_takes_its_halo_and_no_more() -> None:
    network = Counting()
    windows = WindowVocoder(network)
    for start, end, frames in ((10, 12, 8), (0, 2, 5), (28, 30, 5), (1, 29, 30)):
        (samples,) = windows.vocode([VocodeJob("test", ramp(30), start, end)])
        assert network.passes.pop() == (1, frames)
        assert np.array_equal(samples, np.repeat(np.arange(start, end), 4))


@pytest.mark.slow
def test_windows_equal_one_pass_in_any_company(golden_back: Path) -> None:
    mels = [
        value[0].numpy()
        for name, value in load_file(golden_back / "bigvgan.safetensors").items()
        if name.startswith("mel_")
    ]
    network = load_vocoder(golden_back)
    mel = max(mels, key=lambda mel: mel.shape[1])
    frames = mel.shape[1]
    cuts = [0, 1, frames // 3, frames // 2, frames - 2, frames]
    jobs = [VocodeJob("test", mel, start, end) for start, end in itertools.pairwise(cuts)]
    parts = WindowVocoder(network).vocode([*jobs, *map(whole, mels)])
    joined = np.concatenate(parts[: len(jobs)])
    for job_mel, wave in zip([mel, *mels], [joined, *parts[len(jobs) :]], strict=True):
        (alone,) = WindowVocoder(network).vocode([whole(job_mel)])
        np.testing.assert_allclose(wave, alone, atol=5e-5, rtol=0)


@pytest.mark.parametrize(
    ("mel", "start", "end"),
    [
        (ramp(9)[1:], 5, 9),
        (ramp(9)[0], 0, 1),
        (ramp(9), 9, 9),
        (ramp(9), -1, 4),
        (ramp(9), 0, 10),
        (np.full((2, 9), np.nan, np.float32), 5, 9),
    ],
)
def test_senseless_jobs_are_refused(mel: Array, start: int, end: int) -> None:
    with pytest.raises(InvalidRequest, match="vocoder"):
        VocodeJob("test", mel, start, end).check(2)


def test_folder_of_an_istft_vocoder(tmp_path: Path) -> None:
    network = IstftVocoder(IstftDims(hidden=16, inner=24, layers=3)).requires_grad_(False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"type": "istft"} | asdict(network.dims)))
    mel = torch.randn(1, 80, 12)
    assert torch.equal(load_vocoder(tmp_path)(mel), network(mel))


def test_folder_of_another_type_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"type": "griffin"}')
    with pytest.raises(CheckpointError, match="griffin"):
        load_vocoder(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bigvgan", "istft"])
def test_bfloat16_is_close_to_float32(golden_back: Path, tmp_path: Path, kind: str) -> None:
    folder = golden_back
    if kind == "istft":
        folder = tmp_path
        (folder / "config.json").write_text('{"type": "istft"}')
        save_file(IstftVocoder(IstftDims()).state_dict(), folder / "model.safetensors")
    exact, narrow = load_vocoder(folder), load_vocoder(folder, dtype=torch.bfloat16)
    mel = torch.randn(1, exact.mel_channels, 12) - 5
    with torch.inference_mode():
        wave, close = exact(mel), narrow(mel)
    assert close.dtype == torch.float32
    assert (close - wave).norm() < 0.1 * wave.norm()
