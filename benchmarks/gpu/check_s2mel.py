"""S2Mel on the device against the CPU in float32, and rows at other times in one batch against each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from benchmarks.gpu.comparing import check_formats, distance, furthest
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from benchmarks.known import Known
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.s2mel.engine import load_networks
from deployments.indextts2.s2mel.job import Mel, S2MelJob, mel_frames
from deployments.indextts2.s2mel.mel_model import MadeMel, MelModel, MelRow, MelTask
from deployments.indextts2.sampling import Params
from deployments.voices.profile import VoiceProfile
from deployments.voices.sharing import SharedVoice

# ‖difference‖ / ‖mel − its mean‖.
LIMITS = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1.5e-1}
TF32_LIMIT = 2e-2
ALONE = 5e-5  # of float32, beside others against alone
BANDS, STYLE = 80, 192


def profile(frames: int) -> VoiceProfile:
    """What S2Mel takes from a voice, of noise; `frames` of mel."""
    generator = np.random.default_rng(5)
    codes = generator.integers(0, 100, max(1, frames // 2))
    mel = generator.standard_normal((BANDS, frames)).astype(np.float32) - 5
    return VoiceProfile(
        {"mel": mel, "style": generator.standard_normal(STYLE).astype(np.float32), "codes": codes}
    )


def jobs_of(checkpoint: IndexTTSCheckpoint, steps: int, voice: VoiceProfile) -> list[S2MelJob]:
    """Of other lengths, step counts and guidance, some behind mel that is final already."""
    generator, width = np.random.default_rng(6), checkpoint.gpt_dims.model_dim
    jobs = []
    for i in range(5):
        n = 20 + 11 * i
        committed = generator.standard_normal((BANDS, 12 * (i % 3))).astype(np.float32) - 5
        jobs.append(
            S2MelJob(
                request_id="check",
                segment=str(i),
                voice=SharedVoice("voice", Known(voice)),
                first_code=0,
                codes=generator.integers(0, 100, n),
                latents=generator.standard_normal((n, width)).astype(np.float32),
                committed_frames=committed.shape[1],
                committed=committed,
                seed=i,
                stream=i,
                params=Params(guidance=0.0 if i == 3 else 0.7),
                steps=steps + i % 2,
            )
        )
    return jobs


def check_s2mel(report: Report, options: Options) -> None:
    checkpoint = options.checkpoint()
    load = partial(_model, checkpoint)
    voice = profile(options.work.prompt_frames)
    jobs = jobs_of(checkpoint, options.work.euler_steps, voice)
    known = report.make(
        "s2mel, reference on the CPU", lambda: _one_by_one(load("cpu", torch.float32), jobs, voice)
    )
    if known is not None:
        limits = {name: LIMITS[name] for name in options.work.dtypes}
        checks = partial(_checks, jobs, voice, known)
        check_formats(report, options, "s2mel", load, checks, limits, TF32_LIMIT)


def _model(checkpoint: IndexTTSCheckpoint, device: str, dtype: torch.dtype) -> MelModel:
    networks, source = load_networks(checkpoint, device=device, dtype=dtype)
    return MelModel(networks, source, frames_per_code=checkpoint.frames_per_code, voice_cache_bytes=64 << 20)


def _checks(
    jobs: Sequence[S2MelJob],
    voice: VoiceProfile,
    known: Sequence[Mel],
    model: MelModel,
    limit: float,
    exact: bool,
) -> list[Check]:
    alone, joining = _one_by_one(model, jobs, voice), _joining(model, jobs, voice)
    from_cpu = max(distance(a, b, centre=float(b.mean())) for a, b in zip(alone, known, strict=True))
    most = max(furthest(a, b) for a, b in zip(joining, alone, strict=True))
    relative = max(distance(a, b, centre=float(b.mean())) for a, b in zip(joining, alone, strict=True))
    return [
        Check("alone against the CPU", from_cpu, limit),
        Check("joining a batch against alone", relative, ALONE if exact else limit),
        Check("joining a batch against alone, largest difference of log-mel", most),
        Check("kept codes against codes sent again", _kept_differs(model, jobs[-1], voice), 0.0),
    ]


def _one_by_one(model: MelModel, jobs: Sequence[S2MelJob], voice: VoiceProfile) -> list[Mel]:
    return [_joining(model, [job], voice)[0] for job in jobs]


def _joining(model: MelModel, jobs: Sequence[S2MelJob], voice: VoiceProfile) -> list[Mel]:
    """One more row before every step, so that rows at other times share the batches."""
    tasks = [MelTask(job, voice, None, partial(model.noise, job)) for job in jobs]
    return [made.mel for made in _run(model, tasks)]


def _kept_differs(model: MelModel, job: S2MelJob, voice: VoiceProfile) -> float:
    """Most that a mel changes when the first half of its codes was kept from the job before it."""
    half = len(job.codes) // 2
    committed = mel_frames(half, model.frames_per_code) - 5
    first = replace(
        job, codes=job.codes[:half], latents=job.latents[:half], committed_frames=0, committed=None
    )
    (made,) = _run(model, [MelTask(first, voice, None, partial(model.noise, first))])
    rest = replace(
        job,
        first_code=half,
        codes=job.codes[half:],
        latents=job.latents[half:],
        committed_frames=committed,
        committed=None,
    )
    again = replace(job, committed_frames=committed, committed=made.mel[:, :committed])
    kept, sent = (
        _run(model, [MelTask(each, voice, segment, partial(model.noise, each))])[0].mel
        for each, segment in ((rest, made.segment), (again, None))
    )
    return furthest(kept, sent)


def _run(model: MelModel, tasks: Sequence[MelTask]) -> list[MadeMel]:
    waiting = list(enumerate(tasks))
    active: dict[MelRow, int] = {}
    found: dict[int, MadeMel] = {}
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
