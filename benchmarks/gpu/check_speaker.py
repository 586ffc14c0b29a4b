"""The speaker encoder on the device against the CPU in float32."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.gpu.comparing import distance, tf32, torch_default_tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.speaker.encoder import EncodedVoice, SpeakerEncoder
from deployments.voices.reference import ReferenceAudio
from deployments.weights.dtypes import dtype_named

# ‖difference‖ / ‖reference‖; the dtype is that of the conditioner alone.
LIMITS = {"float32": 1e-3, "bfloat16": 1e-1}
TF32_LIMIT = 3e-2
CODES = 0.02  # share of codes that may differ: two entries of the codebook may be as good as equally far
RATE_HZ = 22_050


def check_speaker(report: Report, options: Options) -> None:
    checkpoint = options.checkpoint()
    noise = np.random.default_rng(8).normal(size=int(options.work.reference_s * RATE_HZ)) * 0.1
    recording = ReferenceAudio.from_samples(noise, RATE_HZ)
    known = report.make(
        "speaker, reference on the CPU", lambda: _encoder(checkpoint, "cpu", "float32").encode([recording])[0]
    )
    if known is None:
        return
    for name, limit in LIMITS.items():
        encoder = report.make(f"speaker {name}, load", partial(_encoder, checkpoint, options.device, name))
        if encoder is None:
            continue
        with tf32(False):
            report.part(f"speaker {name}", partial(_checks, encoder, recording, known, limit))
        if name == "float32" and options.on_gpu:
            with torch_default_tf32():
                report.part(
                    f"speaker {name}, convolutions in TF32",
                    partial(_checks, encoder, recording, known, TF32_LIMIT),
                )


def _encoder(checkpoint: IndexTTSCheckpoint, device: str, dtype: str) -> SpeakerEncoder:
    return SpeakerEncoder.load(checkpoint, device=device, dtype=dtype_named(dtype))


def _checks(
    encoder: SpeakerEncoder, recording: ReferenceAudio, known: EncodedVoice, limit: float
) -> list[Check]:
    (voice,) = encoder.encode([recording])
    found, arrays = voice.arrays(), known.arrays()
    checks = [Check(name, distance(found[name], arrays[name]), limit) for name in arrays if name != "codes"]
    return [*checks, Check("codes, share that differs", float((voice.codes != known.codes).mean()), CODES)]
