"""GET /v1/audio/status: what the models are doing now."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serve_app.http.service import SpeechService
from serve_app.observe.now import ModelNow


class StageStatus(BaseModel):
    """Rows are what a job takes of a stage: one, or for instance the beams of a search."""

    replicas: int
    rows: int = Field(description="that the replicas heard of within a minute can work on together")
    held_rows: int = Field(description="in use")
    waiting_rows: int


class ModelStatus(BaseModel):
    id: str
    state: str = Field(description="up, full (it would refuse a request now) or down")
    requests: int = Field(description="running or waiting")
    first_audio_s: float | None = Field(description="median of the last requests; null: there were none")
    rtf: float | None = Field(description="time per second of audio, median of the last requests")
    stages: dict[str, StageStatus]


class StatusAnswer(BaseModel):
    """As one Router sees it."""

    models: list[ModelStatus]


def status_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/v1/audio/status", summary="What the models are doing now")
    async def status() -> StatusAnswer:
        return StatusAnswer(models=[_answer(each) for each in await service.now()])

    return routes


def _answer(now: ModelNow) -> ModelStatus:
    stages = {
        name: StageStatus(
            replicas=stage.replicas,
            rows=stage.rows,
            held_rows=stage.held_rows,
            waiting_rows=stage.waiting_rows,
        )
        for name, stage in now.stages.items()
    }
    return ModelStatus(
        id=now.model,
        state=now.state,
        requests=now.requests,
        first_audio_s=now.first_audio_s,
        rtf=now.rtf,
        stages=stages,
    )
