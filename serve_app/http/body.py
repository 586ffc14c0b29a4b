"""Reading a JSON body: bounded, with every fault named."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from deployments.core.errors import InvalidRequest, TooLarge

Body = TypeVar("Body", bound=BaseModel)
MOST_DIGITS = 18


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to exceed `max_bytes`."""
    declared = request.headers.get("content-length", "")
    # int() itself refuses thousands of digits.
    if declared.isdecimal() and (len(declared) > MOST_DIGITS or int(declared) > max_bytes):
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


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a body for the OpenAPI document, in one piece: references would not resolve there."""
    schema = model.model_json_schema(by_alias=False)
    parts = schema.pop("$defs", {})

    def resolved(node: Any) -> Any:
        if isinstance(node, list):
            return [resolved(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return resolved(parts[node["$ref"].rpartition("/")[2]])
        return {key: resolved(value) for key, value in node.items()}

    whole: dict[str, Any] = resolved(schema)
    return whole


def parse_body(data: bytes, model: type[Body]) -> Body:
    """`data` as a `model`. Raises InvalidRequest naming the field at fault."""
    return validated(read_object(data, "body"), model)


def read_object(data: bytes | str, name: str) -> dict[str, Any]:
    """`data` as a JSON object. Raises InvalidRequest, which speaks of it as the `name`."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the {name} is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(content, dict):
        raise InvalidRequest(
            f"the {name} must be a JSON object, not {type(content).__name__}", code="invalid_json"
        )
    return content


def validated(content: dict[str, Any], model: type[Body]) -> Body:
    """`content` as a `model`. Raises InvalidRequest naming the field at fault."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        param = str(first["loc"][0]) if first["loc"] else None
        raise InvalidRequest(f"{place}: {first['msg']}", param=param) from None
