"""What stages cost for a second of audio: from what they count while a server is under growing load."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deployments.core.errors import Unavailable
from deployments.core.metrics import StageMetrics
from serve_app.bench.arrivals import ClosedLoop
from serve_app.bench.client import Target
from serve_app.bench.errors import BenchError
from serve_app.bench.machine import describe_machine
from serve_app.bench.metrics import summarise
from serve_app.bench.run import run
from serve_app.capacity.costs import Costs, ModelCost, StageCost

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

Stages = Mapping[str, Sequence[StageMetrics]]
LEVELS = (1, 2, 4, 8, 16, 32, 64, 128)  # users at a time
MIN_REQUESTS, REQUESTS_PER_USER = 6, 3  # of a level


@dataclass(frozen=True, slots=True)
class Level:
    """What a load has cost: the state of all stages before and after it, and the audio that was made of it."""

    before: Stages
    after: Stages
    audio_s: float


class StageReader:
    """Asks the Router of a server on this machine, by its HTTP `port`, for what its stages count."""

    def __init__(self, port: int) -> None:
        from ray import serve  # noqa: PLC0415  (Ray takes a second to import)

        from serve_app.client import APPLICATION, ROUTER  # noqa: PLC0415
        from serve_app.running import join_cluster  # noqa: PLC0415

        try:
            application = join_cluster(port=port) or APPLICATION
        except Unavailable as error:
            raise BenchError(
                f"--costs asks the stages themselves, on their own machine: {error.message}"
            ) from None
        self._router: DeploymentHandle[Any] = serve.get_deployment_handle(ROUTER, app_name=application)

    async def read(self, model: str) -> Stages:
        """Raises BenchError for a model that is not there by this very name."""
        by_model: dict[str, Stages] = await self._router.stage_metrics.remote()
        if model not in by_model:
            raise BenchError(f"--costs: give --model the name of one model: {', '.join(sorted(by_model))}")
        return by_model[model]


def model_cost(levels: Iterable[Level]) -> ModelCost:
    """One point per stage and level at which it worked; of two with the same rows the later one. Raises BenchError
    where no stage did."""
    points: dict[str, dict[float, float]] = {}
    rows: dict[str, int] = {}
    for level in levels:
        for stage, replicas in level.after.items():
            steps, step_rows, busy_s = _worked(level.before.get(stage, ()), replicas)
            if steps and level.audio_s > 0:
                rows[stage] = max(each.rows for each in replicas)
                points.setdefault(stage, {})[round(step_rows / steps, 2)] = busy_s / level.audio_s
    if not points:
        raise BenchError("--costs: no stage has counted a step; does this model tell what its stages do?")
    return ModelCost(
        stages={
            stage: StageCost(rows=rows[stage], points=tuple(sorted(found.items())))
            for stage, found in points.items()
        }
    )


def _worked(before: Sequence[StageMetrics], after: Sequence[StageMetrics]) -> tuple[int, int, float]:
    """Steps, rows of all steps, and seconds of work of all replicas. Their step time is a running mean of the last."""
    known = {each.replica: each for each in before}
    steps = step_rows = 0
    busy_s = 0.0
    for each in after:
        earlier = known.get(each.replica, dataclasses.replace(each, steps=0, rows_stepped=0))
        new = each.steps - earlier.steps
        steps += new
        step_rows += each.rows_stepped - earlier.rows_stepped
        busy_s += new * each.step_s
    return steps, step_rows, busy_s


async def measure(target: Target, texts: Sequence[str], *, most_users: int, seed: int, warmup: int) -> Costs:
    """Of the model that `target` asks for, with 1, 2, 4 … `most_users` users at a time. Raises BenchError."""
    reader = StageReader(urlsplit(target.url).port or 80)
    levels = []
    for users in (each for each in LEVELS if each <= most_users):
        load = ClosedLoop(users, max(MIN_REQUESTS, REQUESTS_PER_USER * users))
        before = await reader.read(target.model)
        found = summarise(await run(target, load, texts, seed=seed, warmup=warmup))
        if not found.ok:
            raise BenchError(f"--costs: no request was answered with {users} users: {found.errors}")
        levels.append(Level(before, await reader.read(target.model), found.audio_s_total))
    machine = describe_machine()
    return Costs(
        machine=f"{machine.gpu or machine.cpu}, {machine.cores} cores",
        models={target.model: model_cost(levels)},
    )
