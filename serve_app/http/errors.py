"""Every error as OpenAI's error object, so that the SDKs raise their typed exceptions (specs/http-api.md 5)."""

from __future__ import annotations

import logging
import math
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from deployments.core.errors import InvalidRequest, SpeechError

logger = logging.getLogger("ray.serve")

UNFORESEEN = "an internal error occurred; the server's log has the details"
CLIENT_CLOSED_REQUEST = 499  # nginx's; HTTP itself has no status for it


def error_body(error: SpeechError) -> dict[str, dict[str, str | None]]:
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_response(error: SpeechError) -> JSONResponse:
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    status = HTTPStatus.GATEWAY_TIMEOUT if error.code == "deadline_exceeded" else error.status
    return JSONResponse(error_body(error), status_code=status, headers=headers)


def install(app: FastAPI) -> None:
    """Make every failure of `app` answer in this shape."""

    @app.exception_handler(SpeechError)
    async def speech_error(request: Request, error: SpeechError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path"})
        return error_response(InvalidRequest(f"{place}: {first['msg']}", param=place or None))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        kind = (
            "invalid_request_error"
            if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
            else "server_error"
        )
        message = f"{request.method} {request.url.path}: {error.detail}"
        body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def client_left(request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads this; without it the upload that broke off would be logged as a crash.
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.exception("%s %s failed", request.method, request.url.path)
        return error_response(SpeechError(UNFORESEEN))
