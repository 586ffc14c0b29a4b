"""POST /v1/audio/speech/batch: many texts in one request; one bad item fails alone."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from deployments.core.deadline import within
from deployments.core.errors import DeadlineExceeded, SpeechError
from deployments.core.logs import RequestLogger
from deployments.core.ray_internals import own_context
from serve_app.audio.delivery import Delivery
from serve_app.audio.encoders import FORMATS, output_rate_hz
from serve_app.http.batch_body import BatchBody
from serve_app.http.caller import Caller, caller_of
from serve_app.http.errors import UNFORESEEN, error_body
from serve_app.http.headers import ignored_header, ignored_names
from serve_app.http.remote_recording import RemoteRecordings, remote_of
from serve_app.http.schema import SpeechBody
from serve_app.http.service import SpeechService, retry_when_full
from serve_app.http.streaming import ClosingStream, usage

ITEMS_AT_ONCE = 8  # far fewer than the places of a router as configured: others speak as well
SIGN_OF_LIFE_S = 5.0  # a space between two results: keeps proxies from hanging up, and finds out who has left
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`{id, results: [{index, status, audio_data, media_type, usage, error, …}], total, succeeded, "
        "failed}`, sent while it is made; `status` is success or error, `audio_data` base64",
        "content": {"application/json": {}},
    },
    400: {"description": "The batch itself cannot be read; nothing reached a model"},
    413: {"description": "The body is too large"},
}


def batch_routes(service: SpeechService) -> APIRouter:
    routes = APIRouter(tags=["speech"])

    @routes.post(
        "/v1/audio/speech/batch", summary="Speak many texts", response_class=Response, responses=ANSWERS
    )
    async def batch(body: BatchBody, request: Request) -> Response:
        # The body has been read already; what is wanted is how the client wrote it.
        work = Batch(
            service, body, body.defaults(await request.json()), caller_of(request), remote_of(request)
        )
        return ClosingStream(work.answer(), "application/json", ignored_header(body.unused))

    return routes


class Batch:
    """One batch. Its items wait for places that others hold; a single request would be refused."""

    def __init__(
        self,
        service: SpeechService,
        body: BatchBody,
        defaults: dict[str, Any],
        caller: Caller,
        remote: RemoteRecordings,
    ) -> None:
        self._service = service
        self._body = body
        self._defaults = defaults
        self._caller = caller
        self._remote = remote
        self._id = f"batch-{uuid.uuid4().hex}"
        self._until_s = time.monotonic() + body.deadline_s
        self._places = asyncio.Semaphore(ITEMS_AT_ONCE)

    async def answer(self) -> AsyncGenerator[bytes, None]:
        """The JSON object, result by result in the order of the items. Closing it stops all of them."""
        total, succeeded = len(self._body.items), 0
        tasks = deque(own_context(asyncio.create_task, self._result(index)) for index in range(total))
        try:
            yield f'{{"id": "{self._id}", "results": ['.encode()
            while tasks:
                while not tasks[0].done():
                    await asyncio.wait([tasks[0]], timeout=SIGN_OF_LIFE_S)
                    yield b" "
                result = tasks.popleft().result()
                succeeded += result["status"] == "success"
                yield json.dumps(result).encode() + (b", " if tasks else b"")
            counts = {"total": total, "succeeded": succeeded, "failed": total - succeeded}
            yield b"], " + json.dumps(counts).encode()[1:]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _result(self, index: int) -> dict[str, Any]:
        try:
            body = self._body.item(index, self._defaults)
            async with self._places:
                spoken = await within(
                    max(0.0, self._until_s - time.monotonic()),
                    retry_when_full(lambda: self._spoken(index, body), self._until_s),
                )
            return {"index": index, "status": "success", **spoken, "error": None}
        except SpeechError as error:
            failure = error
        except TimeoutError:
            failure = DeadlineExceeded(
                f"the item was not spoken within the {self._body.deadline_s:g} s of the batch's deadline_s; send "
                "fewer items at a time or allow more"
            )
        except Exception:
            RequestLogger(self._request_id(index)).exception("an item of a batch failed")
            failure = SpeechError(UNFORESEEN)
        return {"index": index, "status": "error", **NOTHING_SPOKEN, **error_body(failure)}

    def _request_id(self, index: int) -> str:
        return f"{self._id}-{index}"

    async def _spoken(self, index: int, body: SpeechBody) -> dict[str, Any]:
        fmt = FORMATS[body.response_format]
        sample_rate_hz = output_rate_hz(fmt, body.sample_rate)
        # Nobody waits for the first sound of an item.
        request = self._caller.signed(
            replace(await body.request(self._request_id(index), self._remote), filler=False)
        )
        delivery = await Delivery.open(self._service.stream(request), fmt, sample_rate_hz)
        data = await delivery.whole()
        return {
            "audio_data": base64.b64encode(data).decode(),
            "media_type": fmt.media_type,
            "usage": usage(len(body.input), delivery.duration_s),
            "model": delivery.start.model,
            "voice": delivery.start.voice,
            "sample_rate": delivery.sample_rate_hz,
            "duration_s": round(delivery.duration_s, 3),
            "warnings": list(delivery.warnings),
            "ignored": ignored_names(self._body.item_ignored(index, body, delivery.start.ignored)),
        }


NOTHING_SPOKEN = dict.fromkeys(("audio_data", "media_type", "usage"))
