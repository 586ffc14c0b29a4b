"""A costs file for `voicegraph capacity` from round figures, for where there is no card to measure on.

    python -m benchmarks.capacity_costs --preset h200 --output serve_app/capacity/h200-estimated.json

IndexTTS2: the presets of `chunk_simulator`; how much of a voice and of what was said S2Mel computes again with every
chunk comes from `load_simulator`. VoxCPM: operation counts (46 GFLOP and 3.6 GB for 160 ms of audio). Kokoro: its
real-time factor on two CPU cores (docs/performance.md). None is a measurement on a GPU.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.chunk_simulator import PRESETS, Costs
from benchmarks.load_simulator import simulate
from deployments.indextts2.stream.chunk_planner import ChunkParameters
from serve_app.bench.arrivals import ClosedLoop
from serve_app.capacity import costs as capacity

CODES_PER_S = 50
FRAMES_PER_S = 22_050 / 256
CHUNK_S = 2.0  # of audio, in a window of the vocoder
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
# On a card that is waited for, not computed on, a further row adds next to nothing: 0.97 GFLOP and the keys and values
# of 500 positions (60 MB) are 0.015 ms of a step of 4 ms; doubled.
ROW_SHARES = {"h200": 0.008, "a100-trt": 0.008}
SLOTS = 128
NEW_VOICES = 0.1  # of streams bring a voice that was not heard before, which takes VOICE_S once
VOICE_S, STREAM_S = 0.05, 5.0
LATENT_BYTES, MEL_BYTES, SAMPLE_BYTES = 4 * 1280, 4 * 80, 4
PATCH_S, PATCH_STEP_S, PATCH_ROW_S = 0.16, 0.018, 0.00023
KOKORO_RTF = 0.23


def indextts2(preset: Costs, row_share: float) -> capacity.ModelCost:
    costs = replace(preset, row_share=row_share)
    step_s = 1 / costs.codes_per_s
    gpt = [(n, CODES_PER_S * step_s * ((1 - row_share) / n + row_share)) for n in BATCHES]
    run = simulate(costs, ChunkParameters(), ClosedLoop(4, 200), cores=3)  # type: ignore[call-arg]
    s2mel_s = run.mel_work_s / run.summary.audio_s_total
    frames = CHUNK_S * FRAMES_PER_S
    vocoder_s = costs.vocoder_us * 1e-6 * FRAMES_PER_S * (frames + 2 * costs.halo_frames) / frames
    speaker_s = NEW_VOICES * VOICE_S / STREAM_S
    return capacity.ModelCost(
        stages={
            "speaker": _flat(speaker_s, rows=4),
            "gpt": capacity.StageCost(rows=SLOTS, points=_rounded(gpt)),
            "s2mel": _flat(s2mel_s, rows=16),
            "vocoder": _flat(vocoder_s, rows=8),
        },
        transfer_bytes_per_audio_s=round(
            CODES_PER_S * LATENT_BYTES + 2 * FRAMES_PER_S * MEL_BYTES + 22_050 * SAMPLE_BYTES
        ),
    )


def voxcpm() -> capacity.ModelCost:
    engine = [(n, (PATCH_STEP_S / n + PATCH_ROW_S) / PATCH_S) for n in BATCHES[:-1]]
    return capacity.ModelCost(
        stages={
            "encoder": _flat(NEW_VOICES * VOICE_S / STREAM_S, rows=4),
            "engine": capacity.StageCost(rows=64, points=_rounded(engine)),
        },
        transfer_bytes_per_audio_s=44_100 * SAMPLE_BYTES,
    )


def kokoro() -> capacity.ModelCost:
    return capacity.ModelCost(
        stages={"kokoro": _flat(KOKORO_RTF, rows=1)}, transfer_bytes_per_audio_s=24_000 * SAMPLE_BYTES
    )


def _flat(seconds: float, rows: int) -> capacity.StageCost:
    """Work that a batch makes no cheaper."""
    return capacity.StageCost(rows=rows, points=_rounded([(1, seconds)]))


def _rounded(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    return tuple((rows, float(f"{seconds:.3g}")) for rows, seconds in points)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="h200")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    preset = PRESETS[options.preset]
    models = {
        "indextts2": indextts2(preset, ROW_SHARES.get(options.preset, preset.row_share)),
        "voxcpm": voxcpm(),
        "kokoro": kokoro(),
    }
    found = capacity.Costs(
        machine=f"{options.preset} (estimated; kokoro: two CPU cores)", estimated=True, models=models
    )
    capacity.write_costs(options.output, found)


if __name__ == "__main__":
    main()
