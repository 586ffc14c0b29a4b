"""Settings of an operator and parameters of a request: both are pydantic models that refuse what they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from typing_extensions import Self

from deployments.core.errors import InvalidRequest


class Settings(BaseModel):
    """Base of every section of a configuration: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Params(BaseModel):
    """Base of what a request may choose about one family of models.

    A family states one such class, with defaults, ranges and descriptions. Its presets are objects of it, requests
    are read into it, and jobs carry it to the stages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @field_validator("*", mode="before")
    @classmethod
    def _whole_numbers(cls, value: object) -> object:
        """5.0 is a whole number: some languages know no others."""
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def changed(self, given: Mapping[str, object]) -> Self:
        """These parameters with what a request gives put in; names that the family does not have are passed over.

        None stands for "not given". Raises InvalidRequest naming the parameter and what is allowed.
        """
        own = {
            name: value for name, value in given.items() if name in self.model_fields and value is not None
        }
        if not own:
            return self
        try:
            return type(self)(**{**self.model_dump(), **own})
        except ValidationError as error:
            raise invalid(error) from None

    @classmethod
    def unknown(cls, given: Mapping[str, object]) -> tuple[str, ...]:
        """Names in `given` that the family does not have, sorted."""
        return tuple(sorted(name for name in given if name not in cls.model_fields))

    def schema_here(self) -> dict[str, Any]:
        """The JSON schema of the class with these values as the defaults."""
        schema = type(self).model_json_schema()
        schema.pop("description", None)
        for name, value in self.model_dump(mode="json").items():
            schema["properties"][name]["default"] = value
        return schema


def invalid(error: ValidationError) -> InvalidRequest:
    """What a client is told of the first fault: the field by its place, and what is allowed there."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    param = str(first["loc"][0]) if first["loc"] else None
    return InvalidRequest(f"{place}: {said(first)}", param=param)


def said(fault: Mapping[str, Any]) -> str:
    """One of pydantic's `errors()` in words."""
    if fault["type"] == "missing":
        return "is missing"
    return str(fault["msg"]).removeprefix("Value error, ")
