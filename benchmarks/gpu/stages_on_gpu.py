"""What every stage costs on the device, by batch, number format, and way to run it.

    python -m benchmarks.gpu.stages_on_gpu --size full

The step of each engine: eager, compiled, as a CUDA graph; then the parts of one request as `benchmarks.stages` has them
(its functions run here without a process of their own); last what the server cannot do yet, which takes longest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report
from benchmarks.gpu.time_gpt import time_gpt
from benchmarks.gpu.time_s2mel import time_s2mel, time_s2mel_compiled
from benchmarks.gpu.time_vocoder import time_vocoder, time_vocoder_compiled
from benchmarks.stage_parts import STAGES as PARTS_OF_STAGES
from benchmarks.stage_parts import Workload, measure


def time_request(report: Report, options: Options) -> None:
    """Each stage as one request uses it, alone."""
    for dtype in options.work.dtypes[:2]:
        work = Workload(
            options.checkpoint().directory,
            device=options.device,
            dtype=dtype,
            reference_s=options.work.reference_s,
            codes=options.work.segment_codes,
            batches=(1, 8) if options.size == "full" else (1,),
        )
        for stage in PARTS_OF_STAGES:
            report.part(f"request {dtype}, {stage}", partial(_measured, stage, work), at_least_s=5)


def time_compiled(report: Report, options: Options) -> None:
    if options.on_gpu:  # on a CPU it shows nothing, and takes longest
        time_s2mel_compiled(report, options)
        time_vocoder_compiled(report, options)


def _measured(stage: str, work: Workload) -> list[dict[str, Any]]:
    found = measure(stage, work)
    for each in found:
        print(f"  {each.part}, batch {each.batch}: {1000 * each.seconds:.2f} ms", flush=True)
    return [asdict(each) for each in found]


STAGES: dict[str, Callable[[Report, Options], None]] = {
    "gpt": time_gpt,
    "s2mel": time_s2mel,
    "vocoder": time_vocoder,
    "request": time_request,
    "compiled": time_compiled,
}


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {"stage": tuple(STAGES)}, budget_s=240)
    report = Report.of("stages", options)
    if report.make("checkpoint", options.checkpoint) is not None:
        for stage in options.words:
            STAGES[stage](report, options)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
