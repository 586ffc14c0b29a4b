"""What the stages of a model cost, as measured on one machine: the file that `voicegraph bench --costs` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from deployments.core.settings import Settings, said

VERSION = 1


class CostsError(Exception):
    """A costs file that cannot be used; the message says where and why."""


class StageCost(Settings):
    """How long a stage works for a second of audio, by how many rows its steps had on average.

    A row of a batch is cheaper than a row alone: so seconds fall with the rows, and what is beyond the last point is
    taken to cost as much as that.
    """

    rows: int = Field(ge=1, description="that one replica works on together")
    points: tuple[tuple[float, float], ...] = Field(
        min_length=1, description="(rows of a step, seconds of work per second of audio), by rows"
    )

    @field_validator("points")
    @classmethod
    def _ascending(cls, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(after[0] <= before[0] for before, after in pairwise(points)):
            raise ValueError("the rows must grow from point to point")
        if any(rows <= 0 or seconds <= 0 for rows, seconds in points):
            raise ValueError("rows and seconds must be above 0")
        return points

    def at(self, rows: float) -> float:
        """Seconds per second of audio with so many rows in a step: work that is shared falls as 1 / rows, so it is a
        straight line over that between two points."""
        first, last = self.points[0], self.points[-1]
        if rows <= first[0]:
            return first[1]
        for (few, dear), (many, cheap) in pairwise(self.points):
            if rows <= many:
                share = (1 / few - 1 / rows) / (1 / few - 1 / many)
                return dear + share * (cheap - dear)
        return last[1]


class ModelCost(Settings):
    """`stages`: by name, as after the model's name in `deployments`; of a model of one stage that of the model."""

    stages: dict[str, StageCost]
    transfer_bytes_per_audio_s: float = Field(
        default=0.0, ge=0, description="between the stages of a stream, through the object store"
    )


class Costs(Settings):
    version: int = VERSION
    machine: str = Field(description="where it was measured")
    estimated: bool = Field(default=False, description="worked out, not measured")
    models: dict[str, ModelCost] = Field(description="by name in the config file, or by kind")

    @field_validator("version")
    @classmethod
    def _known(cls, version: int) -> int:
        if version != VERSION:
            raise ValueError(f"is {version}; this program knows {VERSION}")
        return version

    def of(self, names: Sequence[str]) -> ModelCost | None:
        """The first of `names` that was measured."""
        return next((self.models[name] for name in names if name in self.models), None)


def read_costs(path: Path) -> Costs:
    """Raises CostsError."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return Costs.model_validate(content)
    except OSError as error:
        raise CostsError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        raise CostsError(f"{path}: {'.'.join(map(str, fault['loc']))}: {said(fault)}") from None
    except ValueError as error:
        raise CostsError(f"{path}: is no JSON: {error}") from None


def write_costs(path: Path, costs: Costs) -> None:
    path.write_text(json.dumps(costs.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
