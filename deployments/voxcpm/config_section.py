"""Sections of config.json, whose values are checked when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployments.core.errors import CheckpointError


class Section:
    """`where` names it in errors. A key that is null counts as missing. All methods raise CheckpointError."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self._values = values
        self.where = where

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def number(self, name: str, default: int | None = None) -> int:
        value = self._value(name, default)
        if type(value) is not int or value < 1:
            raise self._wrong(name, value, "a whole number above 0")
        return value

    def real(self, name: str, default: float | None = None) -> float:
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise self._wrong(name, value, "a number above 0")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, value, "true or false")
        return value

    def text(self, name: str, default: str) -> str:
        value = self._value(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def numbers(self, name: str, default: Sequence[float] | None = None) -> tuple[float, ...]:
        value = self._value(name, default)
        if not isinstance(value, Sequence) or not all(type(n) in (int, float) and n > 0 for n in value):
            raise self._wrong(name, value, "a list of numbers above 0")
        return tuple(value)

    def whole_numbers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        numbers = self.numbers(name, default)
        if not all(type(n) is int for n in numbers):
            raise self._wrong(name, numbers, "a list of whole numbers")
        return tuple(int(n) for n in numbers)

    def section(self, name: str, default: Mapping[str, Any] | None = None) -> Section:
        value = self._value(name, default)
        if not isinstance(value, Mapping):
            raise self._wrong(name, value, "a mapping")
        return Section(value, f"{self.where}, {name}")

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is None:
            value = default
        if value is None:
            raise CheckpointError(f"{self.where}: {name} is missing")
        return value

    def _wrong(self, name: str, value: object, expected: str) -> CheckpointError:
        return CheckpointError(f"{self.where}: {name} must be {expected}, got {value!r}")
