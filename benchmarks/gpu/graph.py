"""First audio, real-time factor, throughput and continuity of the stages together, by concurrency, without Ray.

    python -m benchmarks.gpu.graph --size full

The engines share one process, its interpreter lock and one device; deployments would have a process each.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.gpu.options import Options, parse
from benchmarks.gpu.report import Report
from benchmarks.gpu.speaking import Formats, LocalPipeline, RequestKind, local_pipeline
from serve_app.bench.metrics import Distribution, Summary, Trace, summarise

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
        report.part(f"{name}, warming up", partial(_spoken, pipeline, warm, 2, 2))
        report.part(
            f"{name}, warming up in one pass",
            partial(_spoken, pipeline, RequestKind(steps=2, streaming=False), 2, 2),
        )
        for request in kind.requests if options.size != "tiny" else [warm]:
            for concurrency in CONCURRENCIES if options.size == "full" else CONCURRENCIES[1:2]:
                rounds = max(ROUNDS, 4 // concurrency) if options.size != "tiny" else 1
                part = f"{name}, {request}, concurrency {concurrency}"
                report.part(
                    part, partial(_spoken, pipeline, request, concurrency, rounds * concurrency), at_least_s=3
                )


def _spoken(pipeline: LocalPipeline, kind: RequestKind, concurrency: int, requests: int) -> dict[str, Any]:
    traces = asyncio.run(pipeline.load(kind, concurrency, requests))
    summary = summarise(traces)
    print(f"  {_line(summary)}", flush=True)
    if summary.failed:
        raise RuntimeError(f"{summary.failed} of {requests} requests failed: {summary.error_details}")
    return {"summary": _figures(summary), "traces": [_short(trace) for trace in traces]}


def _figures(summary: Summary) -> dict[str, Any]:
    return {
        name: getattr(summary, name)
        for name in (
            *(
                "requests",
                "ok",
                "wall_s",
                "audio_s_total",
                "audio_s_per_s",
                "first_sample_s",
                "latency_s",
                "rtf",
            ),
            *("gap_s", "underrun_total_s", "c100"),
        )
    }


def _short(trace: Trace) -> dict[str, Any]:
    return {
        "sent_s": trace.sent_s,
        "total_s": trace.total_s,
        "arrivals": [(a.at_s, a.audio_s) for a in trace.arrivals],
    }


def _line(summary: Summary) -> str:
    def middle(of: Distribution | None, unit: str) -> str:
        return "none" if of is None else f"{of.p50:.3f}{unit} (p95 {of.p95:.3f})"

    c100 = "none" if summary.c100 is None else f"{summary.c100:.0%}"
    return (
        f"first audio {middle(summary.first_sample_s, ' s')}, RTF {middle(summary.rtf, '')}, "
        f"{summary.audio_s_per_s:.1f} s of audio per s, C100 {c100}, failed {summary.failed}"
    )


def main(argv: list[str] | None = None) -> int:
    options = parse(__doc__ or "", argv, {"kind": tuple(KINDS)}, budget_s=180)
    report = Report.of("graph", options, about={"options": options, "kinds": KINDS})
    if report.make("checkpoint", options.checkpoint) is not None:
        for name in options.words:
            report.part(f"{name}, engines", partial(run, report, options, name), at_least_s=10)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
