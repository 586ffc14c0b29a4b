"""Reference wave, codes, latents and noise to the golden wave: all stages of the back half in a row."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file

from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.networks import load_s2mel
from deployments.indextts2.s2mel.regulator import target_frames
from deployments.indextts2.vocoder.vocoder import load_vocoder, vocode
from deployments.networks.campplus import load_campplus
from deployments.networks.fbank import SAMPLE_RATE_HZ, centred, kaldi_fbank
from deployments.networks.mel import LogMel, MelDims
from deployments.networks.resample import resample


def test_all_utterances_in_one_batch(golden_back: Path) -> None:
    meta = json.loads((golden_back / "meta.json").read_text())
    config = yaml.safe_load((golden_back / "config.yaml").read_text())
    given = load_file(golden_back / "length_regulator.safetensors")
    cfm = load_file(golden_back / "cfm.safetensors")
    expected = load_file(golden_back / "end_to_end.safetensors")
    networks = load_s2mel(golden_back / "s2mel.pth", config)
    campplus = load_campplus(golden_back / "campplus_cn_common.bin")
    vocoder = load_vocoder(golden_back)
    solver = FlowSolver(networks.estimator)
    mel_dims = MelDims.from_config(config)
    names = list(meta["codes"])

    mels, styles, features = [], [], []
    for name in names:
        wave = load_file(golden_back / f"reference_{name}.safetensors")["wav_22k"]
        mels.append(LogMel(mel_dims)(wave)[0])
        wave_16k = resample(wave[0], mel_dims.sample_rate_hz, SAMPLE_RATE_HZ)
        styles.append(campplus(centred(kaldi_fbank(wave_16k))[None])[0])
        target = given[f"code_embedding_{name}"] + networks.gpt_layer(given[f"latent_{name}"])
        features += [given[f"S_ref_{name}"][0], target[0]]
    frames = [
        n
        for name, mel in zip(names, mels, strict=True)
        for n in (mel.shape[1], target_frames(meta["codes"][name]))
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
    for name, wave in zip(names, vocode(vocoder, solver.solve(rows)), strict=True):
        right = expected[f"wav_{name}"][0]
        assert wave.shape == right.shape
        # The style may differ by up to 3e-3: nearly empty filter-bank bins, seen through the logarithm.
        torch.testing.assert_close(wave, right, atol=1e-3, rtol=0)
