"""What the flow takes from a voice, on the device, so that it is made and moved once per replica."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from deployments.indextts2.s2mel.code_embedding import CodeEmbedding
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.voices.cache import ByteLRU, CacheStats
from deployments.voices.profile import VoiceProfile


@dataclass(frozen=True, eq=False)
class DeviceVoice:
    mel: Tensor  # (80, P) of the reference recording
    style: Tensor  # (S,)
    condition: Tensor  # (P, C): the regulated codes of the recording

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in (self.mel, self.style, self.condition))


class DeviceVoices:
    """The voices used last, limited by bytes on the device."""

    def __init__(self, networks: S2MelNetworks, embedding: CodeEmbedding, *, max_bytes: int) -> None:
        self._networks = networks
        self._embedding = embedding
        self._device = networks.estimator.device
        self._known: ByteLRU[DeviceVoice] = ByteLRU(max_bytes, lambda voice: voice.nbytes)

    def get(self, key: str) -> DeviceVoice | None:
        return self._known.get(key)

    @torch.inference_mode()
    def make(self, key: str, profile: VoiceProfile) -> DeviceVoice:
        """From arrays `mel` (80, P), `style` (S,) and `codes` (T,) of the profile (indextts2-back.md 3.3)."""
        mel, style = (torch.tensor(profile[name]).to(self._device) for name in ("mel", "style"))
        codes = torch.tensor(profile["codes"])
        (condition,) = self._networks.length_regulator([self._embedding(codes)], [mel.shape[1]])
        voice = DeviceVoice(mel, style, condition)
        self._known.put(key, voice)
        return voice

    def stats(self) -> CacheStats:
        return self._known.stats()
