"""The vocoder on the device against the CPU in float32, and windows against one pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.comparing import distance, furthest, tf32, torch_default_tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Check, Report
from deployments.indextts2.vocoder.vocoder import MelWindow, Vocoder, load_vocoder, vocode, vocode_windows

LIMITS = {"float32": 1e-4, "float16": 5e-2, "bfloat16": 1.5e-1}
TF32_LIMIT = 5e-2
WINDOWS = 1e-5  # of full scale: an issue's figure


def check_vocoder(report: Report, options: Options) -> None:
    folder = options.checkpoint().path("vocoder_config").parent
    mel = (
        torch.from_numpy(np.random.default_rng(7).standard_normal((80, options.work.mel_frames))).float() - 5
    )
    known = report.make("vocoder, reference on the CPU", lambda: vocode(load_vocoder(folder), [mel])[0])
    if known is None:
        return
    for name, dtype in options.dtypes.items():
        vocoder = report.make(f"vocoder {name}, load", partial(_load, folder, options.device, dtype))
        if vocoder is None:
            continue
        exact = name == "float32"
        there = mel.to(options.device)
        with tf32(False):
            report.part(f"vocoder {name}", partial(_checks, vocoder, there, known, LIMITS[name], exact))
        if exact and options.on_gpu:
            with torch_default_tf32():
                report.part(
                    f"vocoder {name}, convolutions in TF32",
                    partial(_checks, vocoder, there, known, TF32_LIMIT, False),
                )


def _load(folder: Path, device: str, dtype: torch.dtype) -> Vocoder:
    return load_vocoder(folder, device=device, dtype=dtype)


def _checks(vocoder: Vocoder, mel: Tensor, known: Tensor, limit: float, exact: bool) -> list[Check]:
    whole = vocode(vocoder, [mel])[0]
    each = mel.shape[1] // 4
    starts = range(0, mel.shape[1], each)
    windows = [MelWindow(mel, start, min(start + each, mel.shape[1])) for start in starts]
    together = torch.cat(vocode_windows(vocoder, windows))
    alone = torch.cat([vocode_windows(vocoder, [window])[0] for window in windows])
    return [
        Check("against the CPU", distance(whole, known), limit),
        Check("loudest sample", float(known.abs().max())),
        Check("windows in batches against one pass", furthest(together, whole), WINDOWS if exact else None),
        Check("windows alone against one pass", furthest(alone, whole), WINDOWS if exact else None),
    ]
