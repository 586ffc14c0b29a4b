"""The mel stage of a checkpoint whose codes last two steps, with the golden inputs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.content import ContentSource
from deployments.indextts2.s2mel.engine import S2MelEngine, load_networks
from deployments.indextts2.s2mel.job import S2MelJob, mel_frames
from deployments.indextts2.s2mel.networks import S2MelNetworks
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import S2MelSettings
from deployments.indextts2.traits import Traits
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice


class VoiceReference:
    """Stands for an object reference: may be awaited any number of times."""

    def __init__(self, profile: VoiceProfile) -> None:
        self._profile = profile

    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return self._profile


@dataclass(frozen=True)
class Utterance:
    """A recorded segment."""

    codes: np.ndarray  # (n,)
    duration_factor: float
    steps: int
    guidance: float
    noise: Tensor  # (bands, P + L)
    mel: Tensor  # (bands, L)


@dataclass(frozen=True)
class Golden25:
    folder: Path
    traits: Traits
    networks: S2MelNetworks
    source: ContentSource
    given: dict[str, Tensor]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> Golden25:
        files = IndexTTSCheckpoint(folder / "checkpoint")
        networks, source = load_networks(files, device=device, dtype=torch.float32)
        return cls(folder, files.traits, networks, source, load_file(folder / "s2mel.safetensors"))

    @property
    def profile(self) -> VoiceProfile:
        given = self.given
        arrays = {
            "mel": given["in.ref_mel"],
            "style": given["in.style"],
            "features": given["in.spk_cond_emb"],
        }
        return VoiceProfile({name: array[0].numpy() for name, array in arrays.items()})

    @property
    def prompt_frames(self) -> int:
        return self.given["in.ref_mel"].shape[-1]

    @property
    def factors(self) -> list[str]:
        return [name.removeprefix("cond_df") for name in self.given if name.startswith("cond_df")]

    @property
    def codes(self) -> np.ndarray:
        """Those of `in.S_infer`."""
        return load_file(self.folder / "codec.safetensors")["decode.in.codes"][0].numpy()

    def frames(self, codes: int, duration_factor: float | str = 1.0) -> int:
        return mel_frames(codes, self.traits.frames_per_code, float(duration_factor))

    def utterances(self) -> list[Utterance]:
        tensors = load_file(self.folder / "end_to_end.safetensors")
        return [
            Utterance(
                np.array(segment["codes_cut"], np.int64),
                case["infer_kwargs"].get("duration_factor", 1.0),
                segment["steps"],
                segment["cfg"],
                tensors[f"{case['name']}.{number}.noise"][0],
                tensors[f"{case['name']}.{number}.mel"][0],
            )
            for case in json.loads((self.folder / "end_to_end.json").read_text())
            for number, segment in enumerate(case["per_segment"])
        ]

    def job(self, codes: np.ndarray, **changes: Any) -> S2MelJob:
        """Complete, of all codes of a segment."""
        fields: dict[str, Any] = {
            "request_id": "test",
            "segment": "segment",
            "voice": SharedVoice("voice", VoiceReference(self.profile)),
            "first_code": 0,
            "codes": codes,
            "latents": np.zeros((len(codes), 0), np.float32),
            "committed_frames": 0,
            "committed": None,
            "seed": 7,
            "stream": 0,
            "params": Params(),
        }
        return S2MelJob(**(fields | changes))

    def engine(self, **settings: int) -> S2MelEngine:
        given = {
            "max_rows": 16,
            "max_step_frames": 10**6,
            "max_waiting": 100,
            "voice_cache_mb": 16,
        } | settings
        return S2MelEngine(
            self.networks,
            self.source,
            S2MelSettings(**given),
            frames_per_code=self.traits.frames_per_code,
            stretches=self.traits.stretches,
        )
