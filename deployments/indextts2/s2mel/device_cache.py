"""What a replica keeps on the device, so that nothing is sent or made twice: voices, and segments that still grow."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.indextts2.s2mel.content import ContentSource, SegmentContent
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.voices.cache import ByteLRU
from deployments.voices.profile import VoiceProfile


@dataclass(frozen=True, eq=False)
class DeviceVoice:
    """What the flow takes from a voice."""

    mel: Tensor  # (bands, P) of the reference recording
    style: Tensor  # (S,)
    condition: Tensor  # (P, C): the regulated features of the recording

    @property
    def frames(self) -> int:
        return self.mel.shape[1]

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.mel, self.style, self.condition))


@dataclass(frozen=True, eq=False)
class DeviceSegment:
    """What the jobs of a segment have brought and made so far. Replaced with every job, never changed: a job that is
    repeated takes the same beginning of it."""

    content: SegmentContent
    mel: Tensor  # (bands, F); frames of a look-ahead included, which will be made anew

    def knows(self, codes: int, frames: int) -> bool:
        """Whether the first `codes` codes and `frames` frames are here."""
        return codes <= len(self.content.codes) and frames <= self.mel.shape[1]

    @property
    def nbytes(self) -> int:
        return self.content.nbytes + self.mel.nbytes


class DeviceVoices:
    """The voices used last, limited by bytes on the device."""

    def __init__(self, networks: S2MelNetworks, source: ContentSource, *, max_bytes: int) -> None:
        self._networks = networks
        self._source = source
        self._device = networks.estimator.device
        self.kept: ByteLRU[DeviceVoice] = ByteLRU(max_bytes, lambda voice: voice.nbytes)

    def get(self, key: str) -> DeviceVoice | None:
        return self.kept.get(key)

    @torch.inference_mode()
    def make(self, key: str, profile: VoiceProfile) -> DeviceVoice:
        """From the arrays `mel` (bands, P) and `style` (S,) of the profile, and what the source takes of it
        (indextts2-back.md 3.3).

        Regulated by itself, not in a batch: whatever came with it, a voice has the same bits.
        """
        mel, style = (torch.tensor(profile[name]).to(self._device) for name in ("mel", "style"))
        (condition,) = self._networks.length_regulator([self._source.of_voice(profile)], [mel.shape[1]])
        voice = DeviceVoice(mel, style, condition)
        self.kept.put(key, voice)
        return voice
