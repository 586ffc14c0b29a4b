"""From what was observed of each request to the figures of a run; pure functions, no clock, no network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

CONTINUITY_BUFFER_S = 0.1

Outcome = Literal["ok", "rejected", "failed"]


@dataclass(frozen=True)
class Arrival:
    """One piece of the body: when it came (seconds after sending) and how much audio it made playable."""

    at_s: float
    size_bytes: int
    audio_s: float


@dataclass(frozen=True)
class Trace:
    """One request as the client saw it.

    `sent_s` counts from the start of the run, all other times from sending. `late_s` is how long after its
    planned time the request left (a busy client, not a slow server). `error` is None for a complete answer.
    """

    index: int
    text_chars: int
    sent_s: float
    late_s: float
    total_s: float
    status: int | None
    error: str | None
    detail: str | None
    retry_after: str | None
    arrivals: tuple[Arrival, ...]

    @property
    def outcome(self) -> Outcome:
        """`rejected`: refused up front with 429 or 503 and a Retry-After; without that header a failure."""
        if self.error is None:
            return "ok"
        return "rejected" if self.status in (429, 503) and self.retry_after is not None else "failed"


def first_byte_s(trace: Trace) -> float | None:
    """Time to the first non-empty piece of the body."""
    return trace.arrivals[0].at_s if trace.arrivals else None


def first_sample_s(trace: Trace) -> float | None:
    """Time to the first playable sample: later than the first byte where a header travels alone."""
    return next((arrival.at_s for arrival in trace.arrivals if arrival.audio_s > 0), None)


def gaps_s(trace: Trace) -> tuple[float, ...]:
    return tuple(later.at_s - earlier.at_s for earlier, later in pairwise(trace.arrivals))


def audio_s(trace: Trace) -> float:
    return sum(arrival.audio_s for arrival in trace.arrivals)


def rtf(trace: Trace) -> float | None:
    """Time from sending to the last byte, per second of audio; None without audio."""
    seconds = audio_s(trace)
    return trace.total_s / seconds if seconds > 0 else None


def underrun_s(trace: Trace, buffer_s: float = 0.0) -> float:
    """Silence heard by a player that starts `buffer_s` after the first sample and waits when it runs dry."""
    audible = [arrival for arrival in trace.arrivals if arrival.audio_s > 0]
    if not audible:
        return 0.0
    dry_at_s = audible[0].at_s + buffer_s + audible[0].audio_s
    silence_s = 0.0
    for arrival in audible[1:]:
        if arrival.at_s > dry_at_s:
            silence_s += arrival.at_s - dry_at_s
            dry_at_s = arrival.at_s
        dry_at_s += arrival.audio_s
    return silence_s


def plays_through(trace: Trace, buffer_s: float = CONTINUITY_BUFFER_S) -> bool:
    """True if playback that starts `buffer_s` after the first sample never runs dry."""
    return underrun_s(trace, buffer_s) == 0.0


@dataclass(frozen=True)
class Distribution:
    """Percentiles by linear interpolation between the sorted values."""

    count: int
    mean: float
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Distribution | None:
        """None where there is nothing to describe; a value of None was not observed and does not count."""
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if not known.size:
            return None
        p50, p95, p99 = (float(value) for value in np.percentile(known, (50, 95, 99)))
        return cls(int(known.size), float(known.mean()), p50, p95, p99, float(known.max()))


@dataclass(frozen=True)
class Summary:
    """The figures of a run. Times, audio and underruns are of successful requests only."""

    requests: int
    ok: int
    rejected: int
    failed: int
    codes: dict[str, int]
    errors: dict[str, int]
    aborted: dict[str, int]
    error_details: dict[str, str]
    wall_s: float
    requests_per_s: float
    audio_s_per_s: float
    audio_s_total: float
    bytes_total: int
    first_audio_s: Distribution | None
    first_sample_s: Distribution | None
    gap_s: Distribution | None
    latency_s: Distribution | None
    duration_s: Distribution | None
    rtf: Distribution | None
    underrun_s: Distribution | None
    underrun_total_s: float
    underrun_share_of_audio: float | None
    underrun_share_of_requests: float | None
    continuity_ok: int
    c100: float | None
    late_max_s: float


def summarise(traces: Sequence[Trace]) -> Summary:
    """Figures over all traces of one run; shares and percentiles are None where no request succeeded."""
    ok = [trace for trace in traces if trace.outcome == "ok"]
    failed = [trace for trace in traces if trace.outcome == "failed"]
    wall_s = _wall_s(traces)
    audio_total_s = sum(audio_s(trace) for trace in ok)
    underruns = [underrun_s(trace) for trace in ok]
    continuity_ok = sum(plays_through(trace) for trace in ok)
    return Summary(
        requests=len(traces),
        ok=len(ok),
        rejected=len(traces) - len(ok) - len(failed),
        failed=len(failed),
        codes=_count(str(trace.status or "none") for trace in traces),
        errors=_count(trace.error or "" for trace in failed),
        aborted=_count(trace.error or "" for trace in failed if trace.arrivals),
        error_details=_first_details(traces),
        wall_s=wall_s,
        requests_per_s=_ratio(len(ok), wall_s) or 0.0,
        audio_s_per_s=_ratio(audio_total_s, wall_s) or 0.0,
        audio_s_total=audio_total_s,
        bytes_total=sum(arrival.size_bytes for trace in ok for arrival in trace.arrivals),
        first_audio_s=Distribution.of(map(first_byte_s, ok)),
        first_sample_s=Distribution.of(map(first_sample_s, ok)),
        gap_s=Distribution.of(gap for trace in ok for gap in gaps_s(trace)),
        latency_s=Distribution.of(trace.total_s for trace in ok),
        duration_s=Distribution.of(map(audio_s, ok)),
        rtf=Distribution.of(map(rtf, ok)),
        underrun_s=Distribution.of(underruns),
        underrun_total_s=sum(underruns),
        underrun_share_of_audio=_ratio(sum(underruns), audio_total_s),
        underrun_share_of_requests=_ratio(sum(value > 0 for value in underruns), len(ok)),
        continuity_ok=continuity_ok,
        c100=_ratio(continuity_ok, len(ok)),
        late_max_s=max((trace.late_s for trace in traces), default=0.0),
    )


def _wall_s(traces: Sequence[Trace]) -> float:
    """From the first request sent to the last answer's end."""
    if not traces:
        return 0.0
    return max(trace.sent_s + trace.total_s for trace in traces) - min(trace.sent_s for trace in traces)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _first_details(traces: Sequence[Trace]) -> dict[str, str]:
    """One example per kind of error, the earliest, for the reader of the report."""
    details: dict[str, str] = {}
    for trace in traces:
        if trace.error is not None and trace.detail:
            details.setdefault(trace.error, trace.detail)
    return details
