"""S2Mel on the device against the CPU in float32, and rows at other times in one batch against each alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from benchmarks.gpu.comparing import distance, furthest, tf32, torch_default_tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from benchmarks.known import Known
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.flow import FlowRow
from deployments.indextts2.s2mel.job import S2MelJob
from deployments.indextts2.s2mel.mel_model import Mel, MelModel, MelTask
from deployments.voices.profile import VoiceProfile
from deployments.voices.ticket import VoiceTicket

# ‖difference‖ / ‖mel − its mean‖.
LIMITS = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1.5e-1}
TF32_LIMIT = 2e-2
ALONE = 5e-5  # of float32, beside others against alone
BANDS, STYLE = 80, 192


def profile(frames: int) -> VoiceProfile:
    """What S2Mel takes from a voice, of noise; `frames` of mel."""
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 100, frames * 25 // 43)
    mel = generator.standard_normal((BANDS, frames)).astype(np.float32) - 5
    return VoiceProfile(
        {"mel": mel, "style": generator.standard_normal(STYLE).astype(np.float32), "codes": codes}
    )


def tasks_of(checkpoint: IndexTTSCheckpoint, steps: int, voice: VoiceProfile) -> list[MelTask]:
    """Of other lengths, step counts and guidance, some behind mel that is final already."""
    generator, width = np.random.default_rng(6), checkpoint.gpt_dims.model_dim
    ticket = VoiceTicket("voice", Known(voice))
    made = []
    for i in range(5):
        n = 20 + 11 * i
        committed = generator.standard_normal((BANDS, 12 * (i % 3))).astype(np.float32) - 5
        latents = generator.standard_normal((n, width)).astype(np.float32)
        guidance = 0.0 if i == 3 else 0.7
        made.append(
            S2MelJob(ticket, generator.integers(0, 100, n), latents, committed, i, i, steps + i % 2, guidance)
        )
    return [MelTask(job, voice) for job in made]


def check_s2mel(report: Report, options: Options) -> None:
    checkpoint = options.checkpoint()
    tasks = tasks_of(checkpoint, options.work.euler_steps, profile(options.work.prompt_frames))
    known = report.make(
        "s2mel, reference on the CPU", lambda: _one_by_one(_model(checkpoint, "cpu", torch.float32), tasks)
    )
    if known is None:
        return
    for name, dtype in options.dtypes.items():
        model = report.make(f"s2mel {name}, load", partial(_model, checkpoint, options.device, dtype))
        if model is None:
            continue
        with tf32(False):
            report.part(
                f"s2mel {name}", partial(_checks, model, tasks, known, LIMITS[name], name == "float32")
            )
        if name == "float32" and options.on_gpu:
            with torch_default_tf32():
                report.part(
                    f"s2mel {name}, convolutions in TF32",
                    partial(_checks, model, tasks, known, TF32_LIMIT, False),
                )


def _model(checkpoint: IndexTTSCheckpoint, device: str, dtype: torch.dtype) -> MelModel:
    networks, embedding = load_networks(checkpoint, device=device, dtype=dtype)
    return MelModel(networks, embedding, voice_cache_bytes=64 << 20)


def _checks(
    model: MelModel, tasks: Sequence[MelTask], known: Sequence[Mel], limit: float, exact: bool
) -> list[Check]:
    alone, joining = _one_by_one(model, tasks), _joining(model, tasks)
    from_cpu = max(distance(a, b, centre=float(b.mean())) for a, b in zip(alone, known, strict=True))
    most = max(furthest(a, b) for a, b in zip(joining, alone, strict=True))
    relative = max(distance(a, b, centre=float(b.mean())) for a, b in zip(joining, alone, strict=True))
    return [
        Check("alone against the CPU", from_cpu, limit),
        Check("joining a batch against alone", relative, ALONE if exact else limit),
        Check("joining a batch against alone, largest difference of log-mel", most),
    ]


def _one_by_one(model: MelModel, tasks: Sequence[MelTask]) -> list[Mel]:
    return [_joining(model, [task])[0] for task in tasks]


def _joining(model: MelModel, tasks: Sequence[MelTask]) -> list[Mel]:
    """One more row before every step, so that rows at other times share the batches."""
    waiting = list(enumerate(tasks))
    active: dict[FlowRow, int] = {}
    found: dict[int, Mel] = {}
    while waiting or active:
        if waiting:
            number, task = waiting.pop(0)
            active[model.admit(task)] = number
        for row, outcome in zip(list(active), model.step(list(active)), strict=True):
            if outcome.error is not None:
                raise outcome.error
            if outcome.done:
                (found[active.pop(row)],) = outcome.outputs
    return [found[number] for number in range(len(tasks))]
