"""The golden checkpoint behind a codec whose rows are the golden features, so that golden inputs are codes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

from deployments.engine.noise import normals
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.codec.codebook import CodeEmbedding
from deployments.indextts2.s2mel.content import FusedContent
from deployments.indextts2.s2mel.engine import S2MelEngine
from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.s2mel.job import S2MelJob, mel_frames
from deployments.indextts2.s2mel.networks import S2MelNetworks, load_s2mel
from deployments.indextts2.sampling import Params
from deployments.indextts2.settings import S2MelSettings
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

Array = np.ndarray[Any, Any]


class Reference:
    """Stands for an object reference: may be awaited any number of times, and counts them."""

    def __init__(self, profile: VoiceProfile) -> None:
        self.profile = profile
        self.fetched = 0

    def __await__(self) -> Any:
        self.fetched += 1
        yield from asyncio.sleep(0).__await__()
        return self.profile


@dataclass
class GoldenS2Mel:
    networks: S2MelNetworks
    embedding: CodeEmbedding
    frames_per_code: Fraction
    references: dict[str, Reference]
    codes: dict[str, Array]
    latents: dict[str, Array]
    cfm: dict[str, Tensor] = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> GoldenS2Mel:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        given = load_file(folder / "length_regulator.safetensors")
        cfm = load_file(folder / "cfm.safetensors")
        names = sorted(key.removeprefix("latent_") for key in given if key.startswith("latent_"))
        table: list[Tensor] = []

        def codes_of(features: Tensor) -> Array:
            first = sum(map(len, table))
            table.append(features[0])
            return np.arange(first, first + len(features[0]))

        prompts = {name: codes_of(given[f"S_ref_{name}"]) for name in names}
        codes = {name: codes_of(given[f"code_embedding_{name}"]) for name in names}
        references = {
            name: Reference(
                VoiceProfile(
                    {
                        "mel": cfm[f"prompt_mel_{name}"][0].numpy(),
                        "style": cfm[f"style_{name}"][0].numpy(),
                        "codes": prompts[name],
                    }
                )
            )
            for name in names
        }
        latents = {name: given[f"latent_{name}"][0].numpy() for name in names}
        networks = load_s2mel(folder / "s2mel.pth", config)
        frames_per_code = IndexTTSCheckpoint(folder).frames_per_code
        embedding = _identity_embedding(torch.cat(table))
        return cls(networks, embedding, frames_per_code, references, codes, latents, cfm)

    @property
    def names(self) -> list[str]:
        return list(self.codes)

    def frames(self, codes: int) -> int:
        return mel_frames(codes, self.frames_per_code)

    def job(self, name: str, *, steps: int = 25, guidance: float = 0.7, **changes: Any) -> S2MelJob:
        """Complete, of all codes of an utterance."""
        job = S2MelJob(
            request_id="test",
            segment=name,
            voice=SharedVoice(f"voice-{name}", self.references[name]),
            first_code=0,
            codes=self.codes[name],
            latents=self.latents[name],
            committed_frames=0,
            committed=None,
            seed=7,
            stream=0,
            params=Params(guidance=guidance),
            steps=steps,
        )
        return replace(job, **changes)

    def chunk(self, job: S2MelJob, n: int, committed: Array) -> S2MelJob:
        """The complete job of the first `n` codes."""
        return replace(
            job,
            codes=job.codes[:n],
            latents=job.latents[:n],
            committed_frames=committed.shape[1],
            committed=committed,
        )

    @property
    def mel_channels(self) -> int:
        return self.networks.dims.estimator.mel_channels

    def engine(self, **settings: int) -> S2MelEngine:
        given = {"max_rows": 8, "max_step_frames": 10**6, "max_waiting": 100, "voice_cache_mb": 16} | settings
        return S2MelEngine(
            self.networks, self.source, S2MelSettings(**given), frames_per_code=self.frames_per_code
        )

    @property
    def source(self) -> FusedContent:
        return FusedContent(self.embedding, self.networks)

    @torch.inference_mode()
    def solve(self, job: S2MelJob) -> Array:
        """The same by hand: regulator, prompt, noise and `FlowSolver.solve`."""
        profile = self.references[job.voice.key.removeprefix("voice-")].profile
        mel, style = torch.tensor(profile["mel"]), torch.tensor(profile["style"])
        total, done = self.frames(len(job.codes)), job.committed_frames
        committed = np.zeros((self.mel_channels, 0), np.float32) if job.committed is None else job.committed
        target = self.embedding(torch.tensor(job.codes)) + self.networks.gpt_layer(torch.tensor(job.latents))
        (prompt_condition,) = self.networks.length_regulator(
            [self.embedding(torch.tensor(profile["codes"]))], [mel.shape[1]]
        )
        (condition,) = self.networks.length_regulator([target], [total])
        noise = torch.randn(
            self.mel_channels, mel.shape[1] + total
        )  # what lies before the new frames has no effect
        noise[:, mel.shape[1] :] = torch.from_numpy(
            normals(job.seed, job.stream, 0, total, self.mel_channels)
        )
        solver = FlowSolver(self.networks.estimator)
        row = solver.admit(
            noise,
            torch.cat([mel, torch.tensor(committed)], dim=1),
            torch.cat([prompt_condition, condition]),
            style,
            steps=job.euler_steps,
            guidance=job.params.guidance,
            open_end=job.open_end,
        )
        return solver.solve([row])[0].numpy()[:, -(total - done) :]


def _identity_embedding(table: Tensor) -> CodeEmbedding:
    count, width = table.shape
    embedding = CodeEmbedding(count, width, width)
    del embedding.out_project.weight_g, embedding.out_project.weight_v
    embedding.out_project.weight = torch.nn.Parameter(torch.eye(width)[..., None])
    embedding.out_project.bias = torch.nn.Parameter(torch.zeros(width))
    embedding.codebook.weight = torch.nn.Parameter(table)
    return embedding.requires_grad_(False)
