"""The trained networks behind the GPT, with averaged weights, working on the recordings of a split."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from deployments.indextts2.s2mel.flow import FlowSolver
from deployments.indextts2.stream.chunk_planner import Chunk, ChunkParameters, ChunkPlanner, Progress
from deployments.indextts2.stream.geometry import Geometry
from deployments.indextts2.stream.stage_speeds import StageSpeeds
from deployments.indextts2.traits import TWO
from deployments.networks.istft import IstftDims, IstftVocoder
from training.nano.codes import load_frozen
from training.nano.config import MEL_BANDS, SAMPLE_RATE_HZ, VOCODER
from training.nano.s2mel import code_features
from training.nano.s2mel_data import HEARD, WRITTEN, frames_of, recordings
from training.nano.s2mel_start import DirectHead, new_networks
from training.nano.shard import load_shards
from training.nano.train_loop import average_of, parts_of
from training.nano.workspace import Workspace

PROMPT_SECONDS = (2.5, 4.5)


class Chain:
    """Recordings of a split and the trained networks with averaged weights."""

    def __init__(self, workspace: Workspace, split: str, steps: int, guidance: float) -> None:
        self.rows = recordings(workspace, split)
        self.waves = [row["wave"].astype(np.float32) / 32767 for row in load_shards(workspace.audio(split))]
        self._steps, self._guidance = steps, guidance
        semantic = load_frozen(workspace)
        self._embedding = semantic.project(semantic.codec.book.codebook.weight[None])[0]
        self.vocoder = IstftVocoder(IstftDims.from_config(VOCODER))
        self.vocoder.load_state_dict(average_of(workspace.run("vocoder")))
        self.networks = new_networks(torch.zeros(MEL_BANDS)).requires_grad_(False)
        self.head = DirectHead(torch.zeros(MEL_BANDS)).requires_grad_(False)
        if (workspace.s2mel / "checkpoint.pt").exists():
            parts = parts_of(workspace.s2mel)
            self.networks.load_state_dict(parts["average"]["state"])
            if "head" in parts:
                self.head.load_state_dict(parts["head"])

    def prompt_of(self, index: int) -> int:
        """Another recording of the same speaker, of a length fit for a reference."""
        row = self.rows[index]
        others = [
            other for other, found in enumerate(self.rows) if found.speaker == row.speaker and other != index
        ]
        low, high = PROMPT_SECONDS
        return min(others, key=lambda other: abs(len(self.waves[other]) / SAMPLE_RATE_HZ - (low + high) / 2))

    def teacher(self, index: int) -> np.ndarray:
        return self.waves[index]

    @torch.inference_mode()
    def copy(self, index: int) -> np.ndarray:
        return self._vocode(torch.from_numpy(self.rows[index].mel.astype(np.float32)).T)

    @torch.inference_mode()
    def resynthesis(self, index: int) -> np.ndarray:
        return self._vocode(self.mel(index))

    @torch.inference_mode()
    def codes_alone(self, index: int) -> np.ndarray:
        return self._vocode(self.mel(index, latents=False))

    @torch.inference_mode()
    def written(self, index: int) -> np.ndarray:
        """As `resynthesis`, from the codes of what was said instead of those that the encoder heard."""
        return self._vocode(self.mel(index, variant=WRITTEN))

    @torch.inference_mode()
    def chunks(self, index: int) -> np.ndarray:
        """As `resynthesis`, in the chunks that a stream with a seed is made in."""
        codes, prompt_frames = len(self.rows[index].codes[HEARD]), len(self.rows[self.prompt_of(index)].mel)
        geometry = Geometry(self.vocoder.halo_frames, self.vocoder.hop, SAMPLE_RATE_HZ, TWO.frames_per_code)
        planner = ChunkPlanner(ChunkParameters(), geometry, StageSpeeds(), prompt_frames, self._steps)
        mel = torch.zeros(MEL_BANDS, 0)
        committed = number = size = 0
        while True:
            chunk = planner.plan(Progress(0, number, committed, size, codes, True, slack_s=None))
            mel = torch.cat([mel, self._continued(index, mel, chunk)], dim=1)
            if chunk.final:
                return self._vocode(mel)
            mel = mel[:, : geometry.frames(chunk.commit)]
            number, size, committed = number + 1, chunk.commit - committed, chunk.commit

    @torch.inference_mode()
    def mel(self, index: int, *, latents: bool = True, variant: str = HEARD) -> torch.Tensor:
        """(80, T): what s2mel makes of recording `index`, prompted by another recording of its speaker."""
        nothing, count = torch.zeros(MEL_BANDS, 0), len(self.rows[index].codes[variant])
        whole = Chunk(count, count, final=True, open_end=False)
        return self._continued(index, nothing, whole, latents=latents, variant=variant)

    @torch.inference_mode()
    def direct(self, index: int) -> np.ndarray:
        codes = torch.from_numpy(self.rows[index].codes[HEARD])
        mu = self.networks.length_regulator([F.embedding(codes, self._embedding)], [frames_of(len(codes))])
        style = torch.from_numpy(self.rows[self.prompt_of(index)].style)
        return self._vocode(self.head(mu[0][None], style[None])[0].T)

    def _continued(
        self, index: int, made: torch.Tensor, chunk: Chunk, *, latents: bool = True, variant: str = HEARD
    ) -> torch.Tensor:
        """Mel of the codes of a chunk behind the part (80, F) that is made."""
        count = min(chunk.needs, len(self.rows[index].codes[variant]))
        row, prompt = self.rows[index], self.rows[self.prompt_of(index)]
        known = torch.from_numpy(row.latents[variant][:count].astype(np.float32)) if latents else None
        features = [
            code_features(self.networks, self._embedding, torch.from_numpy(codes), after)
            for codes, after in ((prompt.codes[HEARD], None), (row.codes[variant][:count], known))
        ]
        frames = [len(prompt.mel), frames_of(count)]
        mu = torch.cat(self.networks.length_regulator(features, frames))
        longest = len(prompt.mel) + frames_of(len(row.codes[variant]))
        noise = torch.randn(MEL_BANDS, longest, generator=torch.Generator().manual_seed(index))
        solver = FlowSolver(self.networks.estimator)
        given = torch.cat([torch.from_numpy(prompt.mel.astype(np.float32)).T, made], dim=1)
        admitted = solver.admit(
            noise[:, : sum(frames)],
            given,
            mu,
            torch.from_numpy(prompt.style),
            steps=self._steps,
            guidance=self._guidance,
            open_end=chunk.open_end,
        )
        return solver.solve([admitted])[0]

    def _vocode(self, mel: torch.Tensor) -> np.ndarray:
        found: np.ndarray = self.vocoder(mel[None])[0].numpy()
        return found
