"""The speaker encoder on the device against the CPU in float32."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from benchmarks.gpu.comparing import check_formats, distance
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.encoder import VoiceEncoder
from deployments.voices.profile import VoiceProfile
from deployments.voices.reference import ReferenceAudio

# ‖difference‖ / ‖reference‖; the dtype is that of the conditioner alone.
LIMITS = {"float32": 1e-3, "bfloat16": 1e-1}
TF32_LIMIT = 3e-2
CODES = 0.02  # share of codes that may differ: two entries of the codebook may be as good as equally far
RATE_HZ = 22_050


def check_speaker(report: Report, options: Options) -> None:
    load = partial(_load, options.checkpoint())
    noise = np.random.default_rng(8).normal(size=int(options.work.reference_s * RATE_HZ)) * 0.1
    recording = ReferenceAudio.from_samples(noise, RATE_HZ)
    known = report.make(
        "speaker, reference on the CPU", lambda: load("cpu", torch.float32).encode([recording])[0]
    )
    if known is not None:
        checks = partial(_checks, recording, known)
        check_formats(report, options, "speaker", load, checks, LIMITS, TF32_LIMIT)


def _load(checkpoint: IndexTTSCheckpoint, device: str, dtype: torch.dtype) -> VoiceEncoder:
    return VoiceEncoder.load(checkpoint, device=device, dtype=dtype)


def _checks(
    recording: ReferenceAudio, known: VoiceProfile, encoder: VoiceEncoder, limit: float, exact: bool
) -> list[Check]:
    (voice,) = encoder.encode([recording])
    names = [name for name in known.arrays if name != "codes"]
    checks = [Check(name, distance(voice[name], known[name]), limit) for name in names]
    differing = float((voice["codes"] != known["codes"]).mean())
    return [*checks, Check("codes, share that differs", differing, CODES)]
