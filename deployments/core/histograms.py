"""How long jobs of a stage wait and take, and how large its batches are: exported by Ray from the replica itself, which
adds the names of its deployment and replica."""

from __future__ import annotations

from ray.serve import metrics

SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
ROWS = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0]


class StageHistograms:
    """Of one engine; may be used from any thread. An observation takes some microseconds."""

    def __init__(self, stage: str) -> None:
        self._queue = _histogram("queue_seconds", "From a job's arrival to its first step", SECONDS, stage)
        self._compute = _histogram("compute_seconds", "From a job's first step to its end", SECONDS, stage)
        self._step = _histogram("step_duration_seconds", "A step, or a batch", SECONDS, stage)
        self._batch = _histogram("batch_size", "Rows of a step, or jobs of a batch", ROWS, stage)

    def waited(self, seconds: float) -> None:
        self._queue.observe(seconds)

    def computed(self, seconds: float) -> None:
        self._compute.observe(seconds)

    def stepped(self, rows: int, seconds: float) -> None:
        self._batch.observe(rows)
        self._step.observe(seconds)


def _histogram(name: str, description: str, boundaries: list[float], stage: str) -> metrics.Histogram:
    made = metrics.Histogram(
        f"tts_stage_{name}",
        description=description,
        boundaries=boundaries,
        tag_keys=("stage",),
    )
    made.set_default_tags({"stage": stage})
    return made
