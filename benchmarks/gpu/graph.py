"""First audio, real-time factor, throughput and continuity of the stages together, by concurrency, without Ray.

    python -m benchmarks.gpu.graph --size full

The engines share one process, its interpreter lock and one device; deployments would have a process each.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial

from benchmarks.gpu.load import spoken
from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report
from benchmarks.gpu.speaking import Formats, RequestKind, local_pipeline

CONCURRENCIES = (1, 2, 4, 8, 16, 32)
ROUNDS = 2  # requests per client


@dataclass(frozen=True)
class EngineKind:
    """Engines of one configuration, and what is asked of them."""

    formats: Formats
    requests: tuple[RequestKind, ...]
    graphs: bool = True
    compile: bool = False


HALF = Formats(s2mel="bfloat16")
KINDS = {
    "graph": EngineKind(
        HALF,
        (
            RequestKind(),
            RequestKind(streaming=False),
            RequestKind(steps=6),
            RequestKind(seeded=True),
            RequestKind(steps=25, streaming=False, beams=3),
        ),
    ),
    "float32": EngineKind(Formats(), (RequestKind(), RequestKind(streaming=False))),
    "eager": EngineKind(HALF, (RequestKind(),), graphs=False),
    "compiled": EngineKind(HALF, (RequestKind(),), compile=True),
}


def run(report: Report, options: Options, name: str) -> None:
    kind = KINDS[name]
    with local_pipeline(options, kind.formats, graphs=kind.graphs, compile=kind.compile) as pipeline:
        warm = RequestKind(steps=2)
        report.part(f"{name}, warming up", partial(spoken, partial(pipeline.speak, warm), 2, 2))
        report.part(
            f"{name}, warming up in one pass",
            partial(spoken, partial(pipeline.speak, RequestKind(steps=2, streaming=False)), 2, 2),
        )
        for request in kind.requests if options.size != "tiny" else [warm]:
            for concurrency in CONCURRENCIES if options.size == "full" else CONCURRENCIES[1:2]:
                rounds = max(ROUNDS, 4 // concurrency) if options.size != "tiny" else 1
                part = f"{name}, {request}, concurrency {concurrency}"
                action = partial(spoken, partial(pipeline.speak, request), concurrency, rounds * concurrency)
                report.part(part, action, at_least_s=3)


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {"kind": tuple(KINDS)}, budget_s=180)
    report = Report.of("graph", options, about={"options": options, "kinds": KINDS})
    if report.make("checkpoint", options.checkpoint) is not None:
        for name in options.words:
            report.part(f"{name}, engines", partial(run, report, options, name), at_least_s=10)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
