"""Which models have a running replica of every stage, as the processes themselves tell; nobody has to ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from deployments.core.logs import logger
from deployments.core.stage_watch import LOOK_EVERY_S, StageWatch


class Replicas:
    """Looks at the stages of every model. Used from one event loop."""

    def __init__(self, stages: Mapping[str, Mapping[str, StageWatch]]) -> None:
        """`stages`: by model, then by stage. A model without any is taken to run."""
        self._stages = stages
        self._missed: dict[str, str | None] = dict.fromkeys(stages)

    def missing(self, model: str) -> str | None:
        """The name of a stage of which no replica is left; None where all run."""
        return next((stage.name for stage in self._stages[model].values() if stage.lost), None)

    def running(self, model: str) -> dict[str, int]:
        """By stage, how many replicas live."""
        return {name: stage.running for name, stage in self._stages[model].items()}

    def runs(self, model: str) -> bool:
        return self.missing(model) is None

    def at_rest(self, model: str) -> bool:
        """Whether a stage has no replica and none was lost: they were stopped in good order, or were never started."""
        stages = self._stages[model].values()
        return self.runs(model) and any(stage.running == 0 for stage in stages)

    async def watch(self, lost: Callable[[str, str], None], back: Callable[[str], None]) -> None:
        """Look again and again, without end. `lost(model, stage)`: its last replica died; `back(model)`: all stages
        have one again."""
        while True:
            for model, stages in self._stages.items():
                for stage in stages.values():
                    stage.look()
                missing, before = self.missing(model), self._missed[model]
                self._missed[model] = missing
                if missing is not None and before is None:
                    logger.warning("model %s: no replica of %s is left; others are started", model, missing)
                    lost(model, missing)
                elif missing is None and before is not None:
                    logger.info("model %s: %s runs again", model, before)
                    back(model)
            await asyncio.sleep(LOOK_EVERY_S)

    async def until_back(self, model: str, within_s: float) -> bool:
        """Whether all stages of a model have a replica, waiting so long for it."""
        given_up_s = asyncio.get_running_loop().time() + within_s
        while not self.runs(model):
            if asyncio.get_running_loop().time() > given_up_s:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True
