"""What a segment says: from codes, and latents where the GPT gives them, to what the length regulator stretches.

indextts2-back.md 3.1; indextts2.5-delta.md 3, 5, 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.codebook import CodeEmbedding, load_code_embedding
from deployments.indextts2.codec.decoder import STEPS_PER_CODE, CodeDecoder, load_code_decoder
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.voices.profile import VoiceProfile

# A matrix product gives a row the same bits as long as the shape and the place of the row are the same. So the codes of
# a segment are worked on in blocks at fixed places of it, whatever jobs they came with.
BLOCK_CODES = 64


@dataclass(frozen=True, eq=False)
class SegmentContent:
    """Of all codes of a segment so far."""

    codes: npt.NDArray[np.int64]  # (n,)
    projected: Tensor  # (n * steps per code, C) on the device: what the regulator takes

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.projected.nbytes


class ContentSource(Protocol):
    """`known_codes`: codes below it stand for sound. `latent_width`: of what comes with each code; 0: nothing does."""

    known_codes: int
    latent_width: int

    def of_voice(self, profile: VoiceProfile) -> Tensor:
        """Features (T, W) of the reference recording, on the device."""
        ...

    def of_codes(self, codes: Tensor, latents: Tensor) -> Tensor:
        """Features (n * steps per code, W) of whole segments' codes (n,) and their latents, in one pass."""
        ...

    def extended(self, known: SegmentContent | None, job: S2MelJob) -> SegmentContent:
        """With the codes of `job`, which `known` has all before; only what is new or changes is computed."""
        ...


class FusedContent:
    """Embeddings of codes with projected latents added: a code depends on no other one."""

    def __init__(self, embedding: CodeEmbedding, networks: S2MelNetworks) -> None:
        self.embedding = embedding
        self.known_codes = embedding.codebook.num_embeddings
        self.latent_width = networks.dims.gpt_layer[0]
        self._gpt_layer = networks.gpt_layer
        self._project = networks.length_regulator.project
        self._device = networks.estimator.device

    def of_voice(self, profile: VoiceProfile) -> Tensor:
        """From its `codes` (T,)."""
        return self.embedding(torch.tensor(profile["codes"]))

    def of_codes(self, codes: Tensor, latents: Tensor) -> Tensor:
        return self.embedding(codes) + self._gpt_layer(latents)

    def extended(self, known: SegmentContent | None, job: S2MelJob) -> SegmentContent:
        begin, count = job.first_code % BLOCK_CODES, len(job.codes)
        padded = -(-(begin + count) // BLOCK_CODES) * BLOCK_CODES
        codes = np.zeros(padded, np.int64)
        latents = np.zeros((padded, self.latent_width), np.float32)
        codes[begin : begin + count], latents[begin : begin + count] = job.codes, job.latents
        blocks = [
            self._project(self.of_codes(some, theirs))
            for some, theirs in zip(
                torch.from_numpy(codes).split(BLOCK_CODES),
                torch.from_numpy(latents).to(self._device).split(BLOCK_CODES),
                strict=True,
            )
        ]
        before = [] if known is None else [known.projected[: job.first_code]]
        projected = torch.cat([*before, torch.cat(blocks)[begin : begin + count]])
        return SegmentContent(codes_so_far(known, job), projected)


class DecodedContent:
    """What the codec's decoder makes of codes: a code depends on `reach` others on each side.

    So the last codes of a segment that goes on are decoded as if it ended there, and anew once it is known how it does
    go on; those further back are final and are kept.
    """

    latent_width = 0

    def __init__(self, decoder: CodeDecoder, networks: S2MelNetworks) -> None:
        self.known_codes = decoder.embedding.codebook.num_embeddings
        self._decoder = decoder
        self._project = networks.length_regulator.project
        self._device = networks.estimator.device

    def of_voice(self, profile: VoiceProfile) -> Tensor:
        """Its `features` (T, W), which no codec has touched."""
        return torch.tensor(profile["features"]).to(self._device)

    def of_codes(self, codes: Tensor, latents: Tensor) -> Tensor:
        return self._decoder.decode(codes[None])[0]

    def extended(self, known: SegmentContent | None, job: S2MelJob) -> SegmentContent:
        codes = codes_so_far(known, job)
        final = 0 if known is None else max(0, job.first_code - self._decoder.reach)
        first = final // BLOCK_CODES * BLOCK_CODES
        blocks = [
            self._project(self._decoder.decode_block(codes, start, BLOCK_CODES))
            for start in range(first, len(codes), BLOCK_CODES)
        ]
        before = [] if known is None else [known.projected[: STEPS_PER_CODE * first]]
        return SegmentContent(codes, torch.cat([*before, *blocks])[: STEPS_PER_CODE * len(codes)])


def codes_so_far(known: SegmentContent | None, job: S2MelJob) -> npt.NDArray[np.int64]:
    """(n,)"""
    before = job.codes[:0] if known is None else known.codes[: job.first_code]
    return np.concatenate([before, job.codes])


def load_content_source(
    checkpoint: IndexTTSCheckpoint, networks: S2MelNetworks, *, device: torch.device | str = "cpu"
) -> ContentSource:
    """The one that the checkpoint's traits ask for, from its semantic codec. Raises CheckpointError."""
    path = checkpoint.path("semantic_codec")
    if checkpoint.traits.speaks_latents:
        return FusedContent(load_code_embedding(path, device=device), networks)
    tensors, dims = checkpoint.tensors("semantic_codec"), checkpoint.codec_dims
    return DecodedContent(load_code_decoder(tensors, dims, source=str(path), device=device), networks)
