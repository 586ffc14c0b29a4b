"""The parts of one script: each within the budget, each on disk as soon as it is done, none able to lose the others."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.gpu.options import Options
from serve_app.bench.machine import describe_machine, git_commit

RESULTS = Path(__file__).parents[1] / "results" / "gpu"

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """`value` must not exceed `limit`; without a limit it is only told."""

    name: str
    value: float
    limit: float | None = None
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.limit is None or self.value <= self.limit  # not a number never passes

    def __str__(self) -> str:
        sign = "    " if self.limit is None else "ok  " if self.passed else "FAIL"
        limit = "" if self.limit is None else f" (limit {self.limit:.3g})"
        return f"{sign} {self.name}: {self.value:.3g}{limit}{' ' if self.note else ''}{self.note}"


class Report:
    def __init__(self, name: str, *, device: str, budget_s: float, output: Path | None, about: Any) -> None:
        """`output`: a folder; None is one of the device's name below RESULTS."""
        self.name = name
        self.failed: list[str] = []
        self._began_s = time.monotonic()
        self._budget_s = budget_s
        self._parts: dict[str, Any] = {}
        self._head = {"what": name, "machine": describe(device), "about": about}
        folder = output or RESULTS / slug(str(self._head["machine"]["device"]))
        self.path = folder / f"{name}.json"

    @classmethod
    def of(cls, name: str, options: Options, *, about: Any = None) -> Report:
        """That of a script: `name` and the size; `about` is what it was told, the options alone by default."""
        return cls(
            f"{name}-{options.size}",
            device=options.device,
            budget_s=options.budget_s,
            output=options.output,
            about=about or options,
        )

    @property
    def left_s(self) -> float:
        return self._budget_s - (time.monotonic() - self._began_s)

    def make(self, name: str, action: Callable[[], T]) -> T | None:
        """As `part`, for what later parts need: only the time is written down."""
        made: list[T] = []

        def keep() -> None:
            made.append(action())

        self.part(name, keep)
        return made[0] if made else None

    def part(self, name: str, action: Callable[[], Any], *, at_least_s: float = 0.0) -> Any:
        """The result of `action`, or None if it failed or the budget leaves less than `at_least_s`."""
        if self.left_s <= at_least_s:
            self._write(name, {"skipped": f"{self.left_s:.0f} s of the budget are left"})
            print(f"[{self.name}] {name}: skipped, the budget is spent", flush=True)
            return None
        print(f"[{self.name}] {name} … ({self.left_s:.0f} s left)", flush=True)
        began_s = time.monotonic()
        try:
            result = action()
        except Exception as error:
            self.failed.append(name)
            self._write(name, {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
            print(f"[{self.name}] {name}: FAILED {type(error).__name__}: {error}", flush=True)
            return None
        self._note(name, result, time.monotonic() - began_s)
        return result

    def _note(self, name: str, result: Any, seconds: float) -> None:
        checks = (
            result if isinstance(result, list) and all(isinstance(each, Check) for each in result) else []
        )
        for check in checks:
            print(f"  {check}", flush=True)
            if not check.passed:
                self.failed.append(f"{name}: {check.name}")
        self._write(name, {"seconds": round(seconds, 3), "result": result})

    def _write(self, name: str, entry: Mapping[str, Any]) -> None:
        self._parts[name] = dict(entry)
        content = {**self._head, "failed": self.failed, "parts": self._parts}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".part")
        scratch.write_text(json.dumps(plain(content), indent=1) + "\n", encoding="utf-8")
        scratch.replace(self.path)

    def end(self) -> int:
        """Say how it went; the exit code."""
        print(f"[{self.name}] {len(self._parts)} parts, written to {self.path}")
        for name in self.failed:
            print(f"[{self.name}] FAILED: {name}")
        return 1 if self.failed else 0


def plain(value: Any) -> Any:
    """As JSON takes it; numbers that are not finite become text."""
    if isinstance(value, Check):
        return {**plain(asdict(value)), "passed": value.passed}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def describe(device: str) -> dict[str, Any]:
    """Machine, device, driver and versions, as JSON takes it."""
    return {
        "commit": git_commit(),
        **asdict(describe_machine()),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "threads": torch.get_num_threads(),
        **(_of_gpu(device) if torch.device(device).type == "cuda" else {"device": "cpu"}),
    }


def _of_gpu(device: str) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "driver": _driver(),
    }


def _driver() -> str | None:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return done.stdout.strip() or None
