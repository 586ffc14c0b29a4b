"""The iSTFT vocoder on random weights: exact windows, its halo, its files."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from network_windows import windows_joined
from safetensors.torch import save_file

from deployments.core.errors import CheckpointError
from deployments.networks.istft import IstftDims, IstftVocoder, load_istft
from deployments.networks.mel import LogMel, MelDims

DIMS = IstftDims(hidden=16, inner=24, layers=3)


def make(mel_fits: int) -> IstftVocoder:
    torch.manual_seed(5)
    return IstftVocoder(replace(DIMS, mel_fits=mel_fits)).requires_grad_(False)


@pytest.fixture(params=[0, 1, 2])
def vocoder(request: pytest.FixtureRequest) -> IstftVocoder:
    return make(request.param)


def test_length_and_range(vocoder: IstftVocoder) -> None:
    for frames in (1, 2, 30):
        wave = vocoder(torch.randn(2, 80, frames))
        assert wave.shape == (2, frames * DIMS.hop)
        assert wave.abs().max() <= 1


def test_windows_equal_one_pass(vocoder: IstftVocoder) -> None:
    frames = 3 * vocoder.halo_frames + 5
    mel = torch.randn(80, frames)
    parts = windows_joined(vocoder, mel, [0, 1, 7, frames // 2, frames - 1, frames])
    torch.testing.assert_close(parts, vocoder(mel[None])[0], atol=1e-5, rtol=0)


def test_halo_is_the_exact_support(vocoder: IstftVocoder) -> None:
    assert IstftDims().halo_frames == 23
    assert IstftDims(mel_fits=2).halo_frames == 29
    halo = vocoder.halo_frames
    middle = halo + 3
    mel = torch.randn(1, 80, 2 * halo + 7)
    changed = mel.clone()
    changed[:, :, middle] += 3
    difference = (vocoder(mel) - vocoder(changed))[0].view(-1, DIMS.hop).abs().amax(dim=1)
    far = torch.ones(len(difference), dtype=torch.bool)
    far[middle - halo : middle + halo + 1] = False
    assert difference[far].max() < 1e-6
    # The last samples that the halo reaches lie under the very edge of a Hann window: use NaN to see them.
    mel[:, :, middle] = torch.nan
    touched = vocoder(mel)[0].view(-1, DIMS.hop).isnan().any(dim=1).nonzero().flatten()
    assert (middle - touched.min(), touched.max() - middle) == (halo, halo)


def test_sample_of_frame_lies_hop_times_frame_after_the_trim(vocoder: IstftVocoder) -> None:
    frames = torch.zeros(1, 3, DIMS.n_fft)
    frames[0, 1, DIMS.trim + 10] = 1.0
    wave = vocoder._overlap_add(torch.fft.rfft(frames))[0]
    assert (wave.abs() > 1e-3).nonzero().flatten().tolist() == [DIMS.trim + DIMS.hop + 10]


def test_every_fit_brings_the_wave_nearer_to_its_mel() -> None:
    time_s = torch.arange(22_050) / 22_050
    voice = torch.stack([(2 * torch.pi * 150 * k * time_s).sin() / k for k in range(1, 40)]).sum(0) / 8
    log_mel = LogMel(MelDims(22_050, 1024, 1024, 256, 80, 0.0, 11_025.0))
    mel = log_mel(voice[None])
    middle = slice(5, -5)  # the mel of a whole wave is reflected at its ends
    distances = [(log_mel(make(fits)(mel)) - mel)[..., middle].abs().mean().item() for fits in (0, 1, 2, 8)]
    assert distances == sorted(distances, reverse=True)
    assert distances[1] < 0.75 * distances[0]


def test_file_round_trip(vocoder: IstftVocoder, tmp_path: Path) -> None:
    save_file(vocoder.state_dict(), tmp_path / "model.safetensors")
    config = json.loads(json.dumps({"type": "istft"} | asdict(vocoder.dims)))
    mel = torch.randn(1, 80, 12)
    assert torch.equal(load_istft(tmp_path / "model.safetensors", config)(mel), vocoder(mel))


def test_unknown_key_is_refused(vocoder: IstftVocoder) -> None:
    with pytest.raises(CheckpointError, match="hiden"):
        load_istft(vocoder.state_dict(), {"type": "istft", "hiden": 3})
