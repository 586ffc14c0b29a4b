"""The figures of a run for people (a table) and for programs (JSON named as the server's own metrics)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.table import Table

from serve_app.bench.machine import Machine, describe_machine, git_commit
from serve_app.bench.metrics import Arrival, Distribution, Summary, Trace

REPORT_VERSION = 1


def report(
    summary: Summary,
    settings: Mapping[str, Any],
    *,
    machine: Machine | None = None,
    commit: str | None = None,
    at: datetime | None = None,
) -> dict[str, Any]:
    """The JSON of a run: what was asked, where it was measured, `metrics` (http-api.md 5, without `tts_`).

    Machine, commit and time are those of this process unless given.
    """
    return {
        "version": REPORT_VERSION,
        "time": (at or datetime.now(timezone.utc)).isoformat(timespec="seconds"),
        "commit": commit or git_commit(),
        "machine": asdict(machine or describe_machine()),
        "settings": dict(settings),
        "metrics": metrics(summary),
    }


def metrics(summary: Summary) -> dict[str, Any]:
    """Names of http-api.md 5 where it has one, in seconds; distributions are null where nothing succeeded."""
    underrun = _described(summary.underrun_s)
    if underrun is not None:
        underrun |= {
            "total": summary.underrun_total_s,
            "share_of_audio": summary.underrun_share_of_audio,
            "share_of_requests": summary.underrun_share_of_requests,
        }
    return {
        "requests_total": summary.codes,
        "requests_ok_total": summary.ok,
        "requests_rejected_total": summary.rejected,
        "requests_failed_total": summary.failed,
        "errors_total": summary.errors,
        "error_examples": summary.error_details,
        "stream_aborted_total": summary.aborted,
        "audio_ttfa_seconds": _described(summary.first_audio_s),
        "audio_first_sample_seconds": _described(summary.first_sample_s),
        "chunk_gap_seconds": _described(summary.gap_s),
        "request_latency_seconds": _described(summary.latency_s),
        "audio_duration_seconds": _described(summary.duration_s),
        "audio_rtf": _described(summary.rtf),
        "audio_underrun_seconds": underrun,
        "audio_continuity_ok_total": summary.continuity_ok,
        "audio_continuity_c100": summary.c100,
        "wall_seconds": summary.wall_s,
        "requests_per_second": summary.requests_per_s,
        "audio_seconds_per_second": summary.audio_s_per_s,
        "audio_seconds_total": summary.audio_s_total,
        "body_bytes_total": summary.bytes_total,
        "send_delay_max_seconds": summary.late_max_s,
    }


def _described(distribution: Distribution | None) -> dict[str, Any] | None:
    return None if distribution is None else asdict(distribution)


def table(summary: Summary, title: str) -> Table:
    """A table for the terminal: times in milliseconds, a dash where nothing was observed."""
    rows = Table(title=title, title_justify="left")
    rows.add_column("")
    for heading in ("p50", "p95", "p99", "max"):
        rows.add_column(heading, justify="right")
    rows.add_row("first audio (ms)", *_milliseconds(summary.first_audio_s))
    if summary.first_sample_s != summary.first_audio_s:
        rows.add_row("first sample (ms)", *_milliseconds(summary.first_sample_s))
    rows.add_row("gap between chunks (ms)", *_milliseconds(summary.gap_s))
    rows.add_row("whole answer (ms)", *_milliseconds(summary.latency_s))
    rows.add_row("real-time factor", *_cells(summary.rtf, 1.0, ".3f"))
    rows.add_row("underrun (ms)", *_milliseconds(summary.underrun_s), end_section=True)
    for name, value in _totals(summary):
        rows.add_row(name, value)
    return rows


def _totals(summary: Summary) -> Iterable[tuple[str, str]]:
    yield "requests ok / rejected / failed", f"{summary.ok} / {summary.rejected} / {summary.failed}"
    for kind, count in summary.errors.items():
        yield f"  {kind}", str(count)
    yield "plays through from 100 ms (C100)", _share(summary.c100)
    yield "underrun, total", f"{summary.underrun_total_s:.3f} s"
    yield "underrun, share of audio", _share(summary.underrun_share_of_audio)
    yield "underrun, share of requests", _share(summary.underrun_share_of_requests)
    yield "requests per second", f"{summary.requests_per_s:.2f}"
    yield "audio seconds per second", f"{summary.audio_s_per_s:.2f}"
    yield "audio", f"{summary.audio_s_total:.1f} s in {summary.wall_s:.1f} s"
    if summary.late_max_s > 0:
        yield "latest send after its time", f"{1000 * summary.late_max_s:.1f} ms"


def _milliseconds(distribution: Distribution | None) -> list[str]:
    return _cells(distribution, 1000.0, ".1f")


def _cells(distribution: Distribution | None, factor: float, form: str) -> list[str]:
    if distribution is None:
        return ["–"] * 4
    values = (distribution.p50, distribution.p95, distribution.p99, distribution.max)
    return [format(factor * value, form) for value in values]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def write_traces(path: Path, traces: Sequence[Trace]) -> None:
    """One JSON object per request and line; `read_traces` gives the same traces back."""
    path.write_text("".join(json.dumps(asdict(trace)) + "\n" for trace in traces), encoding="utf-8")


def read_traces(path: Path) -> list[Trace]:
    traces = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        arrivals = tuple(Arrival(**arrival) for arrival in fields.pop("arrivals"))
        traces.append(Trace(**fields, arrivals=arrivals))
    return traces
