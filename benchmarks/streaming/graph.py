"""The whole graph of one IndexTTS2 model with random weights, served in a Ray of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import soundfile
from ray import serve
from ray.serve.handle import DeploymentHandle

from benchmarks.random_checkpoint import GOLDEN_FRONT, write_checkpoint
from deployments.indextts2.traits import TWO
from serve_app.app import build
from serve_app.bench.client import Target
from serve_app.client import APPLICATION
from serve_app.commands.own_ports import any_port
from serve_app.config import Config

MODEL = "index"
VOICE = "reference"
PATIENT_S = 600.0


@dataclass(frozen=True)
class Graph:
    """A running graph."""

    url: str
    checkpoint: Path

    def target(self, **fields: Any) -> Target:
        """Requests of this graph; `fields` go into every body."""
        return Target(self.url, model=MODEL, voice=VOICE, extra=fields, timeout_s=PATIENT_S)

    def stage(self, name: str) -> DeploymentHandle[Any]:
        """gpt, s2mel, vocoder or speaker."""
        handle: DeploymentHandle[Any] = serve.get_deployment_handle(f"{MODEL}-{name}", APPLICATION)
        return handle


@contextmanager
def serving(size: str, *, reference_s: float, weights: str = TWO.source, **settings: Any) -> Iterator[Graph]:
    """Serve random weights of `size` (benchmarks.random_checkpoint) with one voice of `reference_s` seconds.

    `weights`: which model's.

    `settings` are those of a model's entry. One CPU thread per stage, as everywhere without a GPU.
    """
    with tempfile.TemporaryDirectory(prefix="vgb", ignore_cleanup_errors=True) as scratch:
        checkpoint = write_checkpoint(Path(scratch) / "model", size, model=weights)
        _write_voice(checkpoint / "voices", reference_s)
        entry = {"kind": "indextts2", "checkpoint": str(checkpoint), **settings}
        with _ray(Path(scratch)) as url:
            config = Config.model_validate(
                {
                    "models": {MODEL: entry},
                    "voices": {"url": str(Path(scratch) / "voices")},
                    # These weights may be slower than speech: figures get larger then, and nothing is cut.
                    "limits": {"piece_timeout_s": PATIENT_S, "first_audio_timeout_s": PATIENT_S},
                }
            )
            serve.run(build(config), name=APPLICATION)
            yield Graph(url, checkpoint)


def _write_voice(folder: Path, seconds: float) -> None:
    wave, rate_hz = soundfile.read(GOLDEN_FRONT.parent / "ref_spk_24k_mono.wav", dtype="float32")
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / f"{VOICE}.wav", np.resize(wave, int(seconds * rate_hz)), rate_hz)


@contextmanager
def _ray(directory: Path) -> Iterator[str]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (Ray's own spelling; as `voicegraph serve` has it)
    # Torch keeps up to 1024 compiled matrix kernels, one per shape, about 0.3 MB each: that would look like a leak.
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "16"
    port = any_port()
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
        _temp_dir=str(directory / "r"),
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
