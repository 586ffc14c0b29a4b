"""Every stage on the device against the CPU, on the same random weights and inputs.

    python -m benchmarks.gpu.correctness --size full
    python -m benchmarks.gpu.correctness --size tiny --device cpu --stage gpt

float32 runs without TF32 and with tight limits, once more as torch has it by default (convolutions in TF32), then
float16 and bfloat16 with the looser limits of the `check_*` files. The exit code is 1 if anything is outside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks.gpu.check_golden import check_golden
from benchmarks.gpu.check_gpt import check_gpt
from benchmarks.gpu.check_s2mel import check_s2mel
from benchmarks.gpu.check_speaker import check_speaker
from benchmarks.gpu.check_vocoder import check_vocoder
from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report

STAGES: dict[str, Callable[[Report, Options], None]] = {
    "gpt": check_gpt,
    "s2mel": check_s2mel,
    "vocoder": check_vocoder,
    "golden": check_golden,
    "speaker": check_speaker,
}


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {"stage": tuple(STAGES)}, budget_s=240)
    name = "correctness" if len(options.words) == len(STAGES) else f"correctness-{'-'.join(options.words)}"
    report = Report.of(name, options)
    if report.make("checkpoint", options.checkpoint) is not None:
        for stage in options.words:
            STAGES[stage](report, options)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
