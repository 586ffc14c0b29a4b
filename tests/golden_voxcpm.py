"""VoxCPM's golden data: a tiny checkpoint of each version, and what the reference implementation made with it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.step.engine import load_parts
from deployments.voxcpm.step.job import PatchChunk, VoxCPMJob
from deployments.voxcpm.step.model import PatchModel
from deployments.voxcpm.step.row import PatchRow

VERSIONS = ("v15", "v2")
AUDIO_START, REFERENCE_START, REFERENCE_END = 101, 103, 104

Arrays = dict[str, Tensor]
Said = list[PatchChunk]
"""The chunks of one job."""


def arrays(path: Path) -> Arrays:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@dataclass(frozen=True)
class GoldenVoxCPM:
    folder: Path

    @cached_property
    def checkpoint(self) -> VoxCPMCheckpoint:
        return VoxCPMCheckpoint(self.folder / "model")

    @cached_property
    def about(self) -> dict[str, Any]:
        """cases.json"""
        return json.loads((self.folder / "cases.json").read_text("utf-8"))

    @cached_property
    def names(self) -> list[str]:
        """Of the cases."""
        return list(self.about["cases"])

    @cached_property
    def arrays(self) -> Arrays:
        return arrays(self.folder / "cases.npz")

    @cached_property
    def modules(self) -> Arrays:
        return arrays(self.folder / "modules.npz")

    def model(
        self, device: str = "cpu", *, slots: int = 16, prefill_positions: int = 512, graphs: bool = False
    ) -> PatchModel:
        network, wave = load_parts(self.checkpoint, device=device, dtype=torch.float32)
        return PatchModel(
            network,
            wave,
            slots=slots,
            max_length=network.dims.max_length,
            prefill_positions=prefill_positions,
            time_dtype=torch.float32,
            cuda_graphs=graphs,
        )

    def job(self, case: str, **changes: Any) -> VoxCPMJob:
        """As the case was made; its seed is the number of the case, for `noise_of_cases`."""
        kwargs = self.about["cases"][case]["kwargs"]
        ids = self.arrays[f"{case}.text_tokens"].tolist()
        is_audio = self.arrays[f"{case}.feat_mask"].bool().tolist()
        marks = (AUDIO_START, REFERENCE_START, REFERENCE_END)
        text = [i for i, audio in zip(ids, is_audio, strict=True) if not audio and i not in marks]
        patches = self.arrays.get(f"{case}.prefill_feat", torch.zeros(0)).numpy()
        prompt = patches[ids.index(AUDIO_START) + 1 :] if "prompt_text" in kwargs else None
        reference = patches[1 : ids.index(REFERENCE_END)] if "reference_wav_path" in kwargs else None
        job = VoxCPMJob(
            request_id=case,
            text_ids=tuple(text),
            target_tokens=len(self.checkpoint.tokenizer.encode(kwargs["text"])),
            seed=self.names.index(case),
            prompt=prompt,
            reference=reference,
            guidance=kwargs["cfg_value"],
            euler_steps=kwargs["inference_timesteps"],
            max_patches=kwargs["max_len"],
            emit_patches=True,
        )
        return replace(job, **changes)

    def noise_of_cases(
        self, seed: int, stream: int | str, start_frame: int, frames: int, channels: int
    ) -> npt.NDArray[np.float32]:
        """In place of `normals`: the noise that case number `seed` was made with; zeros behind its end."""
        noise = self.arrays[f"{self.names[seed]}.noise"].permute(1, 0, 2).flatten(1)
        window = torch.zeros(channels, frames)
        known = noise[:, start_frame : start_frame + frames]
        window[:, : known.shape[1]] = known
        return window.numpy()

    def wave(self, case: str) -> Tensor:
        """What a stateful decoder makes of the case."""
        primed = self.arrays.get(f"{case}.wave_full_decode_prompt_context")
        return self.arrays[f"{case}.wave_full_decode_no_context"] if primed is None else primed


class StepBench:
    """Steps all its rows, without the engine's thread, and gathers what they send."""

    def __init__(self, model: PatchModel) -> None:
        self.model = model
        self.rows: dict[PatchRow, Said] = {}
        self.running: list[PatchRow] = []

    def join(self, job: VoxCPMJob) -> PatchRow:
        row = self.model.admit(job)
        self.rows[row] = []
        self.running.append(row)
        return row

    def leave(self, row: PatchRow) -> None:
        self.running.remove(row)
        self.model.release(row)

    def step(self, some: list[PatchRow] | None = None) -> None:
        rows = list(self.running if some is None else some)
        for row, outcome in zip(rows, self.model.step(rows), strict=True):
            assert outcome.error is None
            self.rows[row] += outcome.outputs
            if outcome.done:
                self.leave(row)

    def finish(self) -> None:
        while self.running:
            self.step()


def said_alone(model: PatchModel, job: VoxCPMJob) -> Said:
    bench = StepBench(model)
    row = bench.join(job)
    bench.finish()
    return bench.rows[row]


def samples_of(said: Said) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in said])


def patches_of(said: Said) -> np.ndarray:
    return np.concatenate([chunk.patches for chunk in said if chunk.patches is not None])
