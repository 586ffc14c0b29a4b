"""Reference wave, codes, latents and noise to the golden wave: all stages of the back half in a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torchaudio.transforms import Resample

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.job import mel_frames
from deployments.indextts2.s2mel.networks import load_s2mel
from deployments.indextts2.speaker.reference import mel_dims
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder, load_vocoder
from deployments.networks.campplus import SAMPLE_RATE_HZ, load_campplus
from deployments.networks.mel import LogMel


@pytest.mark.slow
def test_all_utterances_in_one_batch(golden_back: Path) -> None:
    meta = json.loads((golden_back / "meta.json").read_text())
    config = yaml.safe_load((golden_back / "config.yaml").read_text())
    given = load_file(golden_back / "length_regulator.safetensors")
    cfm = load_file(golden_back / "cfm.safetensors")
    expected = load_file(golden_back / "end_to_end.safetensors")
    networks = load_s2mel(golden_back / "s2mel.pth", config)
    campplus = load_campplus(golden_back / "campplus_cn_common.bin")
    vocoder = WindowVocoder(load_vocoder(golden_back))
    solver = FlowSolver(networks.estimator)
    dims, frames_per_code = mel_dims(config), IndexTTSCheckpoint(golden_back).frames_per_code
    to_16k = Resample(dims.sample_rate_hz, SAMPLE_RATE_HZ)
    names = list(meta["codes"])

    mels, styles, features = [], [], []
    for name in names:
        wave = load_file(golden_back / f"reference_{name}.safetensors")["wav_22k"]
        mels.append(LogMel(dims)(wave)[0])
        styles.append(campplus(campplus.features(to_16k(wave)[0])[None])[0])
        target = given[f"code_embedding_{name}"] + networks.gpt_layer(given[f"latent_{name}"])
        features += [given[f"S_ref_{name}"][0], target[0]]
    frames = [
        n
        for name, mel in zip(names, mels, strict=True)
        for n in (mel.shape[1], mel_frames(meta["codes"][name], frames_per_code))
    ]
    conditions = networks.length_regulator(features, frames)
    rows = [
        solver.admit(
            cfm[f"z_{name}"][0],
            mels[i],
            torch.cat(conditions[2 * i : 2 * i + 2]),
            styles[i],
            guidance=max(meta["cfg_rates"]),
            steps=max(meta["steps"]),
        )
        for i, name in enumerate(names)
    ]
    jobs = [VocodeJob("test", mel.numpy(), 0, mel.shape[1]) for mel in solver.solve(rows)]
    for name, wave in zip(names, vocoder.vocode(jobs), strict=True):
        right = expected[f"wav_{name}"][0]
        assert wave.shape == right.shape
        # The style may differ by up to 3e-3: nearly empty filter-bank bins, seen through the logarithm.
        torch.testing.assert_close(torch.from_numpy(wave), right, atol=1e-3, rtol=0)
