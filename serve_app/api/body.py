"""Reading a JSON body: bounded, with every fault named."""

from __future__ import annotations

import json
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from deployments.errors import InvalidRequest, TooLarge

Body = TypeVar("Body", bound=BaseModel)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to exceed `max_bytes`."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {max_bytes} bytes", code="body_too_large")


def parse_body(data: bytes, model: type[Body]) -> Body:
    """`data` as a `model`. Raises InvalidRequest naming the field at fault."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(content, dict):
        raise InvalidRequest(
            f"the body must be a JSON object, not {type(content).__name__}", code="invalid_json"
        )
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        param = str(first["loc"][0]) if first["loc"] else None
        raise InvalidRequest(f"{place}: {first['msg']}", param=param) from None
