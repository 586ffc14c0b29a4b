"""Where the time of a request went: for the header that browsers show, and for the line about one that was slow."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]")  # narrower than what HTTP calls a token


def server_timing(stage_s: Mapping[str, float], **more_s: float) -> str:
    """The value of `Server-Timing`: `queue;dur=1.2, gpt;dur=230.0` in milliseconds, stages first."""
    spent = {**stage_s, **more_s}
    return ", ".join(
        f"{_NO_TOKEN.sub('-', name)};dur={seconds * 1000:.1f}" for name, seconds in spent.items()
    )


def to_blame(stage_s: Mapping[str, float]) -> str | None:
    """The stage that took longest; None where none took any time."""
    stage, seconds = max(stage_s.items(), key=lambda item: item[1], default=("", 0.0))
    return stage if seconds > 0 else None


def listed(stage_s: Mapping[str, float]) -> str:
    """For people: `gpt 1.20 s, s2mel 0.30 s`, the longest first."""
    ranked = sorted(stage_s.items(), key=lambda item: -item[1])
    return ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in ranked)
