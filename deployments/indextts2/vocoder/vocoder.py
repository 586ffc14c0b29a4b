"""What every vocoder offers, and how windows of mels become exactly the samples that one pass would give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.core.speech import Samples
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.networks.bigvgan import load_bigvgan
from deployments.networks.istft import load_istft

GENERATOR = "bigvgan_generator.pt"
WEIGHTS = "model.safetensors"


class VocoderNetwork(Protocol):
    """halo_frames: mel frames on each side of a frame that its `hop` samples depend on."""

    mel_channels: int
    halo_frames: int
    hop: int
    sample_rate_hz: int

    def __call__(self, mel: Tensor) -> Tensor:
        """Log-mel (B, bands, T) of equal lengths -> wave (B, hop * T) in [-1, 1], both float32."""
        ...


def load_vocoder(
    folder: Path,
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VocoderNetwork:
    """The vocoder in `folder`: `config.json` beside `weights`, or else `bigvgan_generator.pt` or `model.safetensors`.

    `dtype` is that of the convolutions; mel and wave stay float32.
    """
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: cannot be read as JSON ({error})") from error
    kind = config.get("type", "bigvgan")
    if kind == "istft":
        return load_istft(weights or folder / WEIGHTS, config, device=device).to(dtype)
    if kind == "bigvgan":
        generator = folder / GENERATOR
        usual = generator if generator.is_file() else folder / WEIGHTS
        return load_bigvgan(weights or usual, config, device=device).to(dtype)
    raise CheckpointError(f"{folder / 'config.json'}: type is {kind!r}, allowed are bigvgan and istft")


class WindowVocoder:
    """A vocoder for windows of any lengths. Blocking: call it from a thread.

    max_frames: frames, halos included, that one pass of the network takes; a single longer window runs alone.
    """

    def __init__(
        self, network: VocoderNetwork, *, device: torch.device | str = "cpu", max_frames: int = 4096
    ) -> None:
        self.network = network
        self._device = torch.device(device)
        self._max_frames = max_frames

    @torch.inference_mode()
    def vocode(self, jobs: Sequence[VocodeJob]) -> list[Samples]:
        """Samples of each window, (hop * (end - start),) each."""
        samples: dict[int, Samples] = {}
        for members in self._passes(jobs):
            waves = self._pass([jobs[i] for i in members])
            samples.update(zip(members, waves, strict=True))
        return [samples[i] for i in range(len(jobs))]

    def _passes(self, jobs: Sequence[VocodeJob]) -> Iterator[list[int]]:
        """Indices of windows that share a pass: those equally long with their halos.

        Padding would be heard: a mel of 0 is loud, and it would reach `halo_frames` into the audio.
        """
        spans = [job.span(self.network.halo_frames) for job in jobs]
        lengths = [last - first for first, last in spans]
        for length in sorted(set(lengths)):
            members = [i for i, each in enumerate(lengths) if each == length]
            most = max(1, self._max_frames // length)
            yield from (members[i : i + most] for i in range(0, len(members), most))

    def _pass(self, jobs: Sequence[VocodeJob]) -> list[Samples]:
        spans = [job.span(self.network.halo_frames) for job in jobs]
        mels = np.stack([job.mel[:, first:last] for job, (first, last) in zip(jobs, spans, strict=True)])
        waves = self.network(torch.from_numpy(mels.astype(np.float32, copy=False)).to(self._device))
        hop = self.network.hop
        return [
            wave[hop * (job.start - first) : hop * (job.end - first)]
            for wave, job, (first, _) in zip(waves.cpu().numpy(), jobs, spans, strict=True)
        ]
