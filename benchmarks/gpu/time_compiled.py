"""What torch.compile would gain in S2Mel and the vocoder: the server has no switch for it yet."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.comparing import torch_default_tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Report
from benchmarks.gpu.time_s2mel import TARGETS, evaluation
from benchmarks.gpu.time_s2mel import load as load_estimator
from benchmarks.gpu.time_vocoder import lengths
from benchmarks.gpu.time_vocoder import load as load_vocoder
from benchmarks.gpu.timing import Timing, ways
from deployments.indextts2.checkpoint import IndexTTSCheckpoint

A_MINUTE_S = 60.0
GUIDED_PAIR = 2


def time_compiled(report: Report, options: Options) -> None:
    if not options.on_gpu:
        return  # on a CPU it shows nothing, and takes longest
    checkpoint = options.checkpoint()
    folder = checkpoint.path("vocoder_config").parent
    for name in options.work.dtypes[:2]:
        report.part(
            f"s2mel {name}, compiled", partial(_s2mel, checkpoint, name, options), at_least_s=A_MINUTE_S
        )
    with torch_default_tf32():
        report.part("vocoder float32, compiled", partial(_vocoder, folder, options), at_least_s=A_MINUTE_S)


@torch.inference_mode()
def _s2mel(checkpoint: IndexTTSCheckpoint, name: str, options: Options) -> dict[str, Any]:
    """A guided pair with a first chunk, to be compared with the part "network"."""
    estimator = load_estimator(checkpoint, options.device, options.dtypes[name])
    compiled: Any = torch.compile(estimator, dynamic=False)
    action = evaluation(estimator, GUIDED_PAIR, options.work.prompt_frames, TARGETS[0], compiled)
    return _named(dict(ways(action, options, name="compile")))


@torch.inference_mode()
def _vocoder(folder: Path, options: Options) -> dict[str, Any]:
    """One short window, to be compared with the part "ways"."""
    vocoder = load_vocoder(folder, options.device, torch.float32)
    compiled: Any = torch.compile(vocoder, dynamic=False)
    mel = torch.randn(1, vocoder.mel_channels, lengths(options)[0], device=options.device) - 5
    return _named(dict(ways(partial(compiled, mel), options, name="compile")))


def _named(timings: dict[str, Timing]) -> dict[str, Any]:
    return {name: asdict(timing) for name, timing in timings.items()}
