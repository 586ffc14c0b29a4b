"""Requests of several clients in this process: what each of them heard when, and the figures of all together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from deployments.core.speech import Samples
from serve_app.bench.arrivals import ClosedLoop
from serve_app.bench.metrics import Arrival, Distribution, Summary, Trace, summarise

Speak = Callable[[int, float], Awaitable[Trace]]
"""From the number of a request, and when the first one began (`time.monotonic`)."""


async def traced(
    pieces: AsyncGenerator[Samples, None], sample_rate_hz: int, number: int, began_s: float
) -> Trace:
    """One request whose audio is `pieces`; what goes wrong is in the trace."""
    sent_s = time.monotonic()
    arrivals: list[Arrival] = []
    error: str | None = None
    try:
        async with aclosing(pieces):
            async for samples in pieces:
                now_s = time.monotonic() - sent_s
                arrivals.append(Arrival(now_s, samples.nbytes, len(samples) / sample_rate_hz))
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    total_s = time.monotonic() - sent_s
    return Trace(
        index=number,
        text_chars=0,
        sent_s=sent_s - began_s,
        late_s=0.0,
        total_s=total_s,
        status=200 if error is None else 500,
        error=error,
        detail=error,
        retry_after=None,
        arrivals=tuple(arrivals),
    )


def spoken(speak: Speak, concurrency: int, requests: int) -> dict[str, Any]:
    """`requests` in all, `concurrency` of them at any time. Raises RuntimeError if one of them failed."""
    began_s = time.monotonic()
    clients = ClosedLoop(concurrency, requests)
    traces = asyncio.run(clients.run(lambda number, _: speak(number, began_s)))
    summary = summarise(traces)
    print(f"  {_line(summary)}", flush=True)
    if summary.failed:
        raise RuntimeError(f"{summary.failed} of {requests} requests failed: {summary.error_details}")
    return {"summary": _figures(summary), "traces": [_short(trace) for trace in traces]}


def _figures(summary: Summary) -> dict[str, Any]:
    return {
        name: getattr(summary, name)
        for name in (
            *("requests", "ok", "wall_s", "audio_s_total", "audio_s_per_s"),
            *("first_sample_s", "latency_s", "rtf", "gap_s", "underrun_total_s", "c100"),
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
