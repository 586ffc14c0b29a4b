"""Recordings to what a segment needs of a voice (voxcpm.md 4, 10)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence

import numpy as np
import soxr
import torch

from deployments.core.errors import InvalidRequest
from deployments.core.speech import Samples
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.dims import VoxCPMDims
from deployments.voxcpm.vae.encoder import Clip, PatchEncoder, load_encoder
from deployments.voxcpm.voice.job import PROMPT_PATCHES, REFERENCE_PATCHES
from deployments.weights.identity import identities

# To be raised when a change of code changes the arrays: profiles that are stored are then made again.
CODE_VERSION = 1


class RecordingEncoder:
    """Stateless: the result for a recording depends on it alone."""

    def __init__(self, patches: PatchEncoder, dims: VoxCPMDims) -> None:
        self._patches = patches
        self._dims = dims

    @classmethod
    def load(cls, checkpoint: VoxCPMCheckpoint, *, device: torch.device | str = "cpu") -> RecordingEncoder:
        """Raises CheckpointError."""
        dims, source = checkpoint.dims, str(checkpoint.path("audiovae"))
        network = load_encoder(checkpoint.vae_tensors, dims.vae, source=source, device=device)
        return cls(PatchEncoder(network, dims.patch_size, device=device), dims)

    def encode(self, recordings: Sequence[ReferenceAudio]) -> list[VoiceProfile]:
        """Profiles without a key, in the same order. Raises InvalidRequest if a recording is too short."""
        waves = [self._wave(each) for each in recordings]
        uses = {PROMPT_PATCHES: [Clip(wave, "prompt") for wave in waves]}
        if self._dims.has_reference:
            uses[REFERENCE_PATCHES] = [Clip(wave, "reference") for wave in waves]
        made = iter(self._patches.patches([each for use in uses.values() for each in use]))
        arrays = {name: [next(made) for _ in use] for name, use in uses.items()}
        return [
            VoiceProfile({name: patches[index] for name, patches in arrays.items()})
            for index in range(len(recordings))
        ]

    def _wave(self, recording: ReferenceAudio) -> Samples:
        """(n,) at the VAE's input rate."""
        rate_hz = self._dims.vae.in_sample_rate_hz
        mono = recording.mono()
        if recording.sample_rate_hz != rate_hz:
            mono = soxr.resample(mono, recording.sample_rate_hz, rate_hz, quality="HQ")
        if len(mono) < self._dims.patch_samples_in:
            raise InvalidRequest(
                f"the recording lasts {recording.duration_s:.2f} s; use 3 to 15 s of speech", param="voice"
            )
        return np.asarray(mono, np.float32)


def profile_version(checkpoint: VoxCPMCheckpoint) -> str:
    """Version of the profiles that this checkpoint gives, 16 hex digits: what they depend on beside the recording.

    It must be cheap at every start, so no weights are read (see `identities`).
    """
    dims = checkpoint.dims
    files = identities([checkpoint.path("audiovae")], checkpoint.directory)
    content = [CODE_VERSION, dims.architecture, dims.patch_size, dataclasses.astuple(dims.vae), files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
