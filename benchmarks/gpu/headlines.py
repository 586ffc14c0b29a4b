"""The few lines of all result files that are read first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def headlines(folder: Path, size: str) -> None:
    for path in sorted(folder.glob(f"gpu-*-{size}-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["what"] == f"all-{size}":
            continue
        print(f"\n{path.name}: {len(content['parts'])} parts, failed: {content['failed'] or 'none'}")
        for lines in (_skipped, _gpt_steps, _graph):
            for line in lines(content["parts"]):
                print(f"  {line}")


def _skipped(parts: Mapping[str, Any]) -> Iterator[str]:
    skipped = [name for name, part in parts.items() if "skipped" in part]
    if skipped:
        yield f"skipped: {', '.join(skipped)}"


def _gpt_steps(parts: Mapping[str, Any]) -> Iterator[str]:
    """Milliseconds of a step with the choice of codes, by rows, at the longest history."""
    for name, part in parts.items():
        result = part.get("result")
        if not isinstance(result, dict) or "timings" not in result:
            continue
        steps: defaultdict[int, str] = defaultdict(str)
        for timing in result["timings"]:
            if timing["part"] == "step" and timing["median_s"]:
                steps[timing["rows"]] = f"{1000 * timing['median_s']:.2f}"
        yield f"{name}: ms per step by rows " + ", ".join(f"{rows}: {ms}" for rows, ms in steps.items())


def _graph(parts: Mapping[str, Any]) -> Iterator[str]:
    for name, part in parts.items():
        result = part.get("result")
        if not isinstance(result, dict) or "summary" not in result:
            continue
        summary = result["summary"]
        first, rtf = summary["first_sample_s"], summary["rtf"]
        yield (
            f"{name}: first audio {first['p50']:.3f} s, RTF {rtf['p50']:.3f}, "
            f"{summary['audio_s_per_s']:.1f} s of audio per s, C100 {summary['c100']:.0%}"
        )
