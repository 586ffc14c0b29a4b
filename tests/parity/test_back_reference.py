"""Features and style of the reference wave against the golden data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.networks.campplus import Campplus, CampplusDims, load_campplus
from deployments.networks.fbank import SAMPLE_RATE_HZ, centred, kaldi_fbank
from deployments.networks.mel import LogMel, MelDims
from deployments.networks.resample import resample

SPECS = Path(__file__).parents[1] / "specs"


def close(actual: Tensor, expected: Tensor, limit: float) -> None:
    torch.testing.assert_close(actual, expected, atol=limit, rtol=0)


@pytest.fixture(scope="module")
def references(golden_back: Path) -> dict[str, dict[str, Tensor]]:
    names = json.loads((golden_back / "meta.json").read_text())["prompt_frames"]
    return {name: load_file(golden_back / f"reference_{name}.safetensors") for name in names}


@pytest.fixture(scope="module")
def mel_dims(golden_back: Path) -> MelDims:
    return MelDims.from_config(yaml.safe_load((golden_back / "config.yaml").read_text()))


@pytest.fixture(scope="module")
def campplus(golden_back: Path) -> Campplus:
    return load_campplus(golden_back / "campplus_cn_common.bin")


def test_resampled_wave_is_bit_equal(references: dict[str, dict[str, Tensor]], mel_dims: MelDims) -> None:
    for reference in references.values():
        wave = resample(reference["wav_22k"], mel_dims.sample_rate_hz, SAMPLE_RATE_HZ)
        assert torch.equal(wave, reference["wav_16k"])


def test_log_mel(references: dict[str, dict[str, Tensor]], mel_dims: MelDims) -> None:
    log_mel = LogMel(mel_dims)
    for reference in references.values():
        close(log_mel(reference["wav_22k"]), reference["mel"], 1e-4)


def test_fbank(references: dict[str, dict[str, Tensor]]) -> None:
    for reference in references.values():
        close(kaldi_fbank(reference["wav_16k"][0]), reference["fbank"], 5e-3)


def test_style(references: dict[str, dict[str, Tensor]], campplus: Campplus) -> None:
    for reference in references.values():
        close(campplus(centred(reference["fbank"])[None]), reference["style"], 1e-4)
        own = kaldi_fbank(reference["wav_16k"][0])
        close(campplus(centred(own)[None]), reference["style"], 3e-3)


def test_style_intermediates(references: dict[str, dict[str, Tensor]], campplus: Campplus) -> None:
    parts = {
        "camp_head_mean_over_time": campplus.head,
        "camp_tdnn": campplus.xvector.tdnn,
        "camp_block1": campplus.xvector.block1,
        "camp_stats": campplus.xvector.stats,
    }
    with_intermediates = [r for r in references.values() if parts.keys() <= r.keys()]
    assert with_intermediates
    for reference in with_intermediates:
        seen: dict[str, Tensor] = {}
        handles = [
            part.register_forward_hook(
                lambda _, __, out, name=name, seen=seen: seen.update({name: out.clone()})
            )
            for name, part in parts.items()
        ]
        try:
            campplus(centred(reference["fbank"])[None])
        finally:
            for handle in handles:
                handle.remove()
        seen["camp_head_mean_over_time"] = seen["camp_head_mean_over_time"].mean(dim=-1)
        for name, value in seen.items():
            close(value, reference[name], 1e-4)


def test_style_network_of_the_golden_dims(golden_back: Path, campplus: Campplus) -> None:
    dims = json.loads((golden_back / "campplus_dims.json").read_text())
    found = campplus.dims
    assert found.bands == dims["feat_dim"]
    assert found.embedding == dims["embedding_size"]
    assert found.growth == dims["growth_rate"]
    assert found.bottleneck == dims["growth_rate"] * dims["bn_size"]
    assert found.init == dims["init_channels"]
    assert list(found.blocks) == dims["block_layers"]
    assert found.head == dims["fcm_channels"]


def test_names_and_shapes_of_the_official_style_network() -> None:
    listed = json.loads((SPECS / "indextts2-campplus-keys.json").read_text())
    given = {name: torch.empty(entry["shape"], device="meta") for name, entry in listed.items()}
    with torch.device("meta"):
        state = Campplus(CampplusDims.from_tensors(given)).state_dict()
    assert all(listed[name]["shape"] == list(value.shape) for name, value in state.items())
    left = listed.keys() - state.keys()
    assert all(Campplus.unused(name) for name in left)
    assert left == {name for name, entry in listed.items() if not entry["used"]}


def test_other_file_is_refused() -> None:
    with pytest.raises(CheckpointError, match="campplus_cn_common"):
        load_campplus({"encoder.weight": torch.zeros(1)})


def test_waves_that_are_too_short(mel_dims: MelDims) -> None:
    with pytest.raises(ValueError, match="too few"):
        LogMel(mel_dims)(torch.zeros(1, 384))
    with pytest.raises(ValueError, match="400"):
        kaldi_fbank(torch.zeros(399))


def test_resampling_keeps_shape_and_tone() -> None:
    assert resample(torch.zeros(2, 3, 100), 16000, 16000).shape == (2, 3, 100)
    time = torch.arange(24000) / 24000
    wave = resample(torch.sin(2 * torch.pi * 440 * time).expand(2, 1, -1), 24000, 22050)
    assert wave.shape == (2, 1, 22050)
    expected = torch.sin(2 * torch.pi * 440 * torch.arange(22050) / 22050)
    close(wave[1, 0, 100:-100], expected[100:-100], 1e-3)
