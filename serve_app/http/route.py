"""POST /v1/audio/route: what would become of a request, without speaking it."""

from __future__ import annotations

import uuid

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from serve_app.http.caller import caller_of
from serve_app.http.remote_recording import remote_of
from serve_app.http.schema import SpeechBody
from serve_app.http.service import SpeechService
from serve_app.routing.decision import Candidate, Decision


class RouteCandidate(BaseModel):
    """A model as it was judged for this request."""

    model: str
    reason: str | None = Field(description="why it is in this place; null: it is not tried")
    objections: list[str] = Field(description="why it cannot serve")
    wishes_unmet: list[str] = Field(description="what the request would like and does not get here")
    state: str = Field(
        description="up, asleep (it is started when it is needed), full (it would refuse a request now) or down"
    )
    first_audio_ms: float | None = Field(
        description="expected at the present load; null: nothing is known yet"
    )
    audio_s_per_s: float | None = Field(description="seconds of audio that it makes per second, in all")
    quality_rank: int


class RouteAnswer(BaseModel):
    """`candidates` are in the order in which they would be tried, followed by those that would not."""

    model: str | None = Field(description="that would be asked first; null: none can serve")
    reason: str | None = Field(description="what X-Route-Reason would say")
    rule: str | None = Field(description="the operator's rule that decided")
    may_fill: bool = Field(description="the answer may begin with a filler")
    problem: str | None = Field(
        description="why no model can serve: the message of the error that speech would get"
    )
    candidates: list[RouteCandidate]


def route_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["speech"])

    @routes.post("/v1/audio/route", summary="Which model would speak, and why; nothing is spoken")
    async def route(body: SpeechBody, request: Request) -> RouteAnswer:
        asked = caller_of(request).signed(await body.request(uuid.uuid4().hex, remote_of(request)))
        return _answer(await service.route(asked))

    return routes


def _answer(decision: Decision) -> RouteAnswer:
    first = decision.choices[0] if decision.choices else None
    return RouteAnswer(
        model=first.model if first else None,
        reason=first.reason if first else None,
        rule=decision.rule,
        may_fill=decision.may_fill,
        problem=decision.problem.message if decision.problem else None,
        candidates=[_candidate(each) for each in decision.candidates],
    )


def _candidate(judged: Candidate) -> RouteCandidate:
    expected_s = judged.load.first_audio_s
    return RouteCandidate(
        model=judged.model,
        reason=judged.reason or None,
        objections=list(judged.objections),
        wishes_unmet=list(judged.wishes_unmet),
        state=judged.load.state,
        first_audio_ms=None if expected_s is None else round(1000 * expected_s, 1),
        audio_s_per_s=judged.load.audio_s_per_s,
        quality_rank=judged.quality_rank,
    )
