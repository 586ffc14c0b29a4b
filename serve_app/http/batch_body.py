"""The body of `POST /v1/audio/speech/batch`: items, and what holds for all that do not say otherwise."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from deployments.core.errors import InvalidRequest
from serve_app.http.emotion import FlatEmotion
from serve_app.http.fields import Decimal, validated, without_nulls
from serve_app.http.schema import SpeechBody, SpeechSettings

MAX_ITEMS = 64
# Fields that say one thing together: an item that names one takes none of the others from the defaults.
TOGETHER = (
    frozenset(("voice", "speaker", "speaker_id", "ref_audio", "ref_text")),
    frozenset(("emotion", *FlatEmotion.model_fields)),
)
UNUSED = frozenset(("stream", "stream_format"))  # every item is one file

# For readers of the OpenAPI document only: items are validated one by one, after the defaults have joined them.
Item = Annotated[Any, WithJsonSchema({"$ref": "#/components/schemas/SpeechBody"})]


class BatchBody(SpeechSettings):
    """The fields of `POST /v1/audio/speech` are defaults. What is wrong with an item fails that item alone."""

    items: list[Item] = Field(min_length=1, max_length=MAX_ITEMS)
    deadline_s: Decimal = Field(
        100.0, gt=0, le=3600, allow_inf_nan=False, description="items not made by then fail"
    )

    @property
    def unused(self) -> list[str]:
        """Fields of the batch itself that change nothing, whatever the items are."""
        return sorted(UNUSED & self.model_fields_set)

    def defaults(self, content: dict[str, Any]) -> dict[str, Any]:
        """What holds for all items, of `content`, the body as the client wrote it."""
        others = {"items", "deadline_s", *UNUSED}
        return {name: value for name, value in without_nulls(content).items() if name not in others}

    def item(self, index: int, defaults: dict[str, Any]) -> SpeechBody:
        """Item `index`, with what it does not say taken from `defaults`. Raises InvalidRequest."""
        item = self.items[index]
        if not isinstance(item, dict):
            raise InvalidRequest(
                f"an item must be a JSON object with input, not {type(item).__name__}", param="items"
            )
        return validated({**_merged(defaults, without_nulls(item)), "stream": False}, SpeechBody)

    def item_ignored(self, index: int, body: SpeechBody, of_model: tuple[str, ...]) -> list[str]:
        """Fields of item `index`, read as `body`, that change nothing; `of_model`: as the model says."""
        return sorted({*body.ignored(of_model), *(UNUSED & without_nulls(self.items[index]).keys())})


def _merged(defaults: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    """The item over the defaults, of which it keeps nothing that it says itself, in whatever place."""
    extra = item.get("extra_params")
    own = {*item, *(extra if isinstance(extra, dict) else ())}
    own = own.union(*(group for group in TOGETHER if group & own)) - {"extra_params"}
    merged = {name: value for name, value in defaults.items() if name not in own}
    shared = merged.get("extra_params")
    if isinstance(shared, dict):
        kept = {name: value for name, value in shared.items() if name not in own}
        merged["extra_params"] = {**kept, **extra} if isinstance(extra, dict) else kept
        if isinstance(extra, dict):
            item = {name: value for name, value in item.items() if name != "extra_params"}
    return {**merged, **item}
