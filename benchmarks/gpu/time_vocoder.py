"""What windows cost in the vocoder: as it is, as a CUDA graph, compiled; with TF32 and without."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.comparing import tf32, torch_default_tf32
from benchmarks.gpu.options import Options
from benchmarks.gpu.report import Report
from benchmarks.gpu.timing import COMPILE_S, timed, ways
from deployments.indextts2.vocoder.vocoder import VocoderNetwork, load_vocoder

WINDOWS = (1, 2, 4, 8, 16)
FRAMES = (97, 276)  # 21 and 200 frames between two halos of 38


def time_vocoder(report: Report, options: Options) -> None:
    folder = options.checkpoint().path("vocoder_config").parent
    for name, dtype in options.dtypes.items():
        vocoder = report.make(f"vocoder {name}, load", partial(load, folder, options.device, dtype))
        if vocoder is None:
            continue
        with torch_default_tf32():
            report.part(f"vocoder {name}", partial(_windows, vocoder, options), at_least_s=5)
            if name != "float16":
                report.part(f"vocoder {name}, ways", partial(_ways, vocoder, options), at_least_s=10)
        if name == "float32" and options.on_gpu:
            with tf32(False):
                report.part("vocoder float32 without TF32", partial(_windows, vocoder, options), at_least_s=5)


def time_vocoder_compiled(report: Report, options: Options) -> None:
    """What torch.compile would gain: the server has no switch for it yet."""
    folder = options.checkpoint().path("vocoder_config").parent
    with torch_default_tf32():
        compiled = partial(_compiled, folder, options)
        report.part("vocoder float32, compiled", compiled, at_least_s=COMPILE_S)


def load(folder: Path, device: str, dtype: torch.dtype) -> VocoderNetwork:
    return load_vocoder(folder, device=device, dtype=dtype)


def lengths(options: Options) -> tuple[int, ...]:
    """Frames of windows."""
    return FRAMES if options.size != "tiny" else (20,)


@torch.inference_mode()
def _windows(vocoder: VocoderNetwork, options: Options) -> list[dict[str, Any]]:
    found = []
    for frames in lengths(options):
        for windows in WINDOWS if options.size == "full" else WINDOWS[:1]:
            mel = torch.randn(windows, vocoder.mel_channels, frames, device=options.device) - 5
            timing = timed(f"{windows} windows of {frames} frames", partial(vocoder, mel), options)
            found.append({"windows": windows, "frames": frames, **asdict(timing)})
    return found


@torch.inference_mode()
def _ways(vocoder: VocoderNetwork, options: Options) -> list[dict[str, Any]]:
    found = []
    for windows in (1, 8) if options.size == "full" else (1,):
        mel = torch.randn(windows, vocoder.mel_channels, lengths(options)[0], device=options.device) - 5
        for way, timing in ways(partial(vocoder, mel), options):
            found.append({"way": way, "windows": windows, "frames": mel.shape[2], **asdict(timing)})
    return found


@torch.inference_mode()
def _compiled(folder: Path, options: Options) -> dict[str, Any]:
    """One short window, to be compared with the part "ways"."""
    vocoder = load(folder, options.device, torch.float32)
    compiled: Any = torch.compile(vocoder, dynamic=False)
    mel = torch.randn(1, vocoder.mel_channels, lengths(options)[0], device=options.device) - 5
    found = ways(partial(compiled, mel), options, name="compile")
    return {way: asdict(timing) for way, timing in found}
