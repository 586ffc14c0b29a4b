"""BigVGAN against the golden data: whole mels, batches, chunks, units, and 16-bit output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_close import close
from safetensors.torch import load_file
from torch import Tensor

from deployments.core.speech import Samples
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder
from deployments.networks.bigvgan import BigVgan, load_bigvgan
from deployments.networks.snake import lowpass
from serve_app.audio.encoders import to_pcm16

LIMIT = 5e-5


@pytest.fixture(scope="module")
def meta(golden_back: Path) -> dict[str, Any]:
    return json.loads((golden_back / "meta.json").read_text())


@pytest.fixture(scope="module")
def bigvgan(golden_back: Path) -> BigVgan:
    config = json.loads((golden_back / "config.json").read_text())
    return load_bigvgan(golden_back / "bigvgan_generator.pt", config)


@pytest.fixture(scope="module")
def data(golden_back: Path) -> dict[str, Tensor]:
    return load_file(golden_back / "bigvgan.safetensors")


def whole(mel: Tensor) -> VocodeJob:
    return VocodeJob("test", mel.numpy(), 0, mel.shape[1])


def check(waves: list[Samples], expected: list[Tensor]) -> None:
    for wave, right in zip(waves, expected, strict=True):
        close(torch.from_numpy(wave), right, LIMIT)


def cases(data: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """(mel, wave) of every single utterance in the file."""
    mels = {name: value[0] for name, value in data.items() if re.fullmatch(r"mel_(full_)?\d+", name)}
    return [(mel, data[name.replace("mel_", "wav_")][0, 0]) for name, mel in mels.items()]


@pytest.mark.slow
def test_single(bigvgan: BigVgan, data: dict[str, Tensor]) -> None:
    assert cases(data)
    for mel, wave in cases(data):
        close(bigvgan(mel[None])[0], wave, LIMIT)


def test_batch(bigvgan: BigVgan, data: dict[str, Tensor]) -> None:
    close(bigvgan(data["batch_mel"]), data["batch_wav"][:, 0], LIMIT)


def test_ragged_batch(bigvgan: BigVgan, data: dict[str, Tensor]) -> None:
    batch = zip(data["batch_mel"], data["batch_wav"][:, 0], strict=True)
    mels, waves = zip(*cases(data), *batch, strict=True)
    check(WindowVocoder(bigvgan).vocode([whole(mel) for mel in mels]), waves)


@pytest.mark.slow
def test_chunks_equal_one_pass(bigvgan: BigVgan, data: dict[str, Tensor], meta: dict[str, Any]) -> None:
    assert bigvgan.halo_frames <= meta["chunk_context_frames"]
    name = next(name for name in data if name.startswith("mel_full_"))
    mel, wave = data[name][0].numpy(), data[name.replace("mel_", "wav_")][0, 0]
    jobs = [VocodeJob("test", mel, start, end) for start, end in meta["chunks"]]
    expected = [wave[start * bigvgan.hop : end * bigvgan.hop] for start, end in meta["chunks"]]
    windows = WindowVocoder(bigvgan)
    check([windows.vocode([job])[0] for job in jobs], expected)
    check(windows.vocode(jobs), expected)


def test_filters(data: dict[str, Tensor]) -> None:
    close(lowpass(), data["filter_up"], 1e-6)
    close(lowpass(), data["filter_down"], 1e-6)


def test_units(bigvgan: BigVgan, data: dict[str, Tensor]) -> None:
    activation = bigvgan.resblocks[0].activations[0]
    close(activation(data["act_in"]), data["act_out"], LIMIT)
    padded = torch.nn.functional.pad(data["act_in"], (3, 3), mode="replicate")
    close(activation.upsample_by_shifts(padded).mT.flatten(-2), data["act_up"], LIMIT)
    close(bigvgan.resblocks[2](data["resblock2_in"]), data["resblock2_out"], LIMIT)


def test_end_to_end(bigvgan: BigVgan, golden_back: Path, meta: dict[str, Any]) -> None:
    expected = load_file(golden_back / "end_to_end.safetensors")
    cfm = load_file(golden_back / "cfm.safetensors")
    steps, guidance = max(meta["steps"]), max(meta["cfg_rates"])
    for name in meta["codes"]:
        mel = cfm[f"out_{name}_steps{steps}_cfg{guidance}"][0]
        [wave] = WindowVocoder(bigvgan).vocode([whole(mel)])
        check([wave], [expected[f"wav_{name}"][0]])
        if f"int16_{name}" in expected:
            # The reference cuts the fraction off, delivery rounds.
            pcm = np.frombuffer(to_pcm16(wave), "<i2").astype(int)
            assert np.abs(pcm - expected[f"int16_{name}"][0].numpy()).max() <= 1
