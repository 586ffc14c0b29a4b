"""On what was measured."""

from __future__ import annotations

import os
import subprocess
from dataclasses import asdict
from typing import Any

import torch

from serve_app.bench.machine import describe_machine, git_commit

COMMIT = "VOICEGRAPH_COMMIT"  # a working tree that was copied to another machine has no .git


def describe(device: str) -> dict[str, Any]:
    """Machine, device, driver and versions, as JSON takes it."""
    return {
        "commit": os.environ.get(COMMIT) or git_commit(),
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
