"""The vocoder on the device against the CPU in float32, and windows against one pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.comparing import check_formats, distance, furthest
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.core.speech import Samples
from deployments.indextts2.s2mel.job import Mel
from deployments.indextts2.vocoder.job import VocodeJob
from deployments.indextts2.vocoder.vocoder import WindowVocoder, load_vocoder

LIMITS = {"float32": 1e-4, "float16": 5e-2, "bfloat16": 1.5e-1}
TF32_LIMIT = 5e-2
WINDOWS = 1e-5  # of full scale: a third of a step of 16 bits


def check_vocoder(report: Report, options: Options) -> None:
    load = partial(_load, options.checkpoint().path("vocoder_config").parent)
    noise = np.random.default_rng(7).standard_normal((80, options.work.mel_frames))
    mel = noise.astype(np.float32) - 5
    known = report.make(
        "vocoder, reference on the CPU", lambda: load("cpu", torch.float32).vocode([_whole(mel)])[0]
    )
    if known is not None:
        limits = {name: LIMITS[name] for name in options.work.dtypes}
        check_formats(report, options, "vocoder", load, partial(_checks, mel, known), limits, TF32_LIMIT)


def _load(folder: Path, device: str, dtype: torch.dtype) -> WindowVocoder:
    return WindowVocoder(load_vocoder(folder, device=device, dtype=dtype), device=device)


def _whole(mel: Mel) -> VocodeJob:
    return VocodeJob("check", mel, 0, mel.shape[1])


def _checks(mel: Mel, known: Samples, vocoder: WindowVocoder, limit: float, exact: bool) -> list[Check]:
    whole = vocoder.vocode([_whole(mel)])[0]
    each = mel.shape[1] // 4
    starts = range(0, mel.shape[1], each)
    jobs = [VocodeJob("check", mel, start, min(start + each, mel.shape[1])) for start in starts]
    together = np.concatenate(vocoder.vocode(jobs))
    alone = np.concatenate([vocoder.vocode([job])[0] for job in jobs])
    return [
        Check("against the CPU", distance(whole, known), limit),
        Check("loudest sample", float(np.abs(known).max())),
        Check("windows in batches against one pass", furthest(together, whole), WINDOWS if exact else None),
        Check("windows alone against one pass", furthest(alone, whole), WINDOWS if exact else None),
    ]
