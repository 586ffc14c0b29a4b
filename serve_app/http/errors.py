"""Every error as OpenAI's error object, so that the SDKs raise their typed exceptions (http-api.md 5)."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.core.errors import CLIENT_CLOSED_REQUEST, InvalidRequest, SpeechError, Unauthenticated
from deployments.core.logs import RequestLogger
from deployments.core.settings import said

# What FastAPI says of JSON that is not UTF-8, nested too deeply or holds numbers of thousands of digits.
BODY_UNREADABLE = "There was an error parsing the body"
UNFORESEEN = "an internal error occurred; the server's log has the details"
POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1; before the handshake it becomes a 403


class ErrorFields(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """OpenAI's error object."""

    error: ErrorFields


# Of every route. It also keeps FastAPI from documenting a 422, which this server never answers.
ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ErrorAnswer, "description": "Any error, in OpenAI's shape"}
}


def error_body(error: SpeechError) -> dict[str, dict[str, str | None]]:
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_response(error: SpeechError) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


async def refuse(error: SpeechError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket before it is one, from outside of the routes."""
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": ""})
        return
    await error_response(error)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Make every failure of `app` answer in this shape."""

    @app.exception_handler(SpeechError)
    async def speech_error(request: Request, error: SpeechError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(_of_validation(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:  # only FastAPI's reading of bodies raises it
            return error_response(_unreadable(request, error.detail))
        kind = (
            "invalid_request_error"
            if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
            else "server_error"
        )
        message = f"{request.method} {request.url.path}: {error.detail}"
        body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
        headers = dict(error.headers or {})
        if "GET" in headers.get("Allow", ""):
            headers["Allow"] += ", HEAD"
        return JSONResponse(body, status_code=error.status_code, headers=headers)

    @app.exception_handler(ClientDisconnect)
    async def client_left(request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads this; without it the upload that broke off would be logged as a crash.
        return Response(status_code=CLIENT_CLOSED_REQUEST)


class Unforeseen:
    """ASGI middleware, inside of all others: an exception that nobody foresaw is logged and answered.

    Starlette's own handler for them is outside of all middleware: a page of another origin could not read its answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            if begun:
                raise
            log = RequestLogger(Headers(scope=scope).get("x-request-id", ""))
            log.exception("%s %s failed", scope["method"], scope["path"])
            await error_response(SpeechError(UNFORESEEN))(scope, receive, send)


def _of_validation(error: RequestValidationError) -> InvalidRequest:
    """The first fault that FastAPI found, as what a client is told."""
    first = error.errors()[0]
    source, *rest = first["loc"]
    if source == "body" and first["type"] == "json_invalid":
        return _not_json(f"{first['ctx']['error']} at position {rest[0]}")
    if source == "body" and not rest:
        if first["type"] == "missing":
            return _not_json("it is empty")
        return InvalidRequest(
            "the body must be a JSON object, sent as Content-Type: application/json", code="invalid_json"
        )
    place = ".".join(str(part) for part in rest)
    return InvalidRequest(f"{place}: {said(first)}", param=str(rest[0]) if rest else None)


def _unreadable(request: Request, reason: str) -> InvalidRequest:
    if not request.headers.get("content-type", "").lower().startswith("multipart/"):
        return _not_json("it cannot be decoded")
    if reason == BODY_UNREADABLE:
        reason = "it has no boundary, or its names are not UTF-8"
    return InvalidRequest(f"the multipart body cannot be read: {reason}", code="invalid_form")


def _not_json(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the body is not valid JSON: {reason}", code="invalid_json")
