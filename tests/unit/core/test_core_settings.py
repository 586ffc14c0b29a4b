from __future__ import annotations

import pickle
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from deployments.core.errors import InvalidRequest
from deployments.core.settings import Params, Settings


class Own(Params):
    """What the tests' family has."""

    steps: int = Field(default=4, ge=1, le=8, description="time grows with them")
    warmth: float = Field(default=0.5, ge=0, le=1, allow_inf_nan=False)
    breath: bool = False
    style: Literal["plain", "news"] = "plain"
    pitch_hz: float | None = Field(default=None, ge=50)


def test_settings_refuse_what_they_do_not_know() -> None:
    class Section(Settings):
        size: int = 1

    with pytest.raises(ValidationError, match="sise"):
        Section(sise=2)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="frozen"):
        Section().size = 2  # type: ignore[misc]


def test_nothing_given_nothing_changed() -> None:
    preset = Own(steps=2)
    assert preset.changed({}) is preset
    assert preset.changed({"steps": None, "colour": "red"}) is preset


def test_what_is_given_is_put_in() -> None:
    changed = Own(steps=2, warmth=0.1).changed({"warmth": 1, "breath": True, "pitch_hz": 100.0, "colour": 1})
    assert changed == Own(steps=2, warmth=1.0, breath=True, pitch_hz=100.0)


@pytest.mark.parametrize("value", [5, 5.0])
def test_whole_floats_are_whole_numbers(value: Any) -> None:
    steps = Own().changed({"steps": value}).steps
    assert (steps, type(steps)) == (5, int)


def test_whole_numbers_are_floats() -> None:
    for value in (1, 1.0):
        assert Own().changed({"warmth": value, "pitch_hz": 100}).warmth == 1.0
    assert type(Own().changed({"warmth": 1}).warmth) is float


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 5.5),
        ("steps", 0),
        ("steps", 9),
        ("steps", True),
        ("steps", "5"),
        ("steps", [5]),
        ("steps", float("inf")),
        ("steps", float("nan")),
        ("steps", 10**400),
        ("warmth", True),
        ("warmth", float("nan")),
        ("warmth", "0.5"),
        ("breath", 1),
        ("breath", 1.0),
        ("breath", "true"),
        ("style", "poem"),
        ("style", 3),
        ("pitch_hz", 10),
    ],
)
def test_anything_else_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Own().changed({name: value, "colour": "red"})
    assert caught.value.param == name
    assert caught.value.message.startswith(f"{name}: ")
    assert "pydantic" not in caught.value.message


def test_the_message_says_what_is_allowed() -> None:
    with pytest.raises(InvalidRequest, match="less than or equal to 8"):
        Own().changed({"steps": 9})
    with pytest.raises(InvalidRequest, match="'plain' or 'news'"):
        Own().changed({"style": "poem"})


def test_what_the_family_does_not_have() -> None:
    assert Own.unknown({"zoo": 1, "steps": 2, "colour": None}) == ("colour", "zoo")
    assert Own.unknown({}) == ()


def test_the_schema_has_these_values_as_its_defaults() -> None:
    schema = Own(steps=2, style="news").schema_here()
    assert "description" not in schema  # the class's own, which is about code
    properties = schema["properties"]
    assert {name: entry["default"] for name, entry in properties.items()} == {
        "steps": 2,
        "warmth": 0.5,
        "breath": False,
        "style": "news",
        "pitch_hz": None,
    }
    assert (properties["steps"]["minimum"], properties["steps"]["maximum"]) == (1, 8)
    assert properties["steps"]["description"] == "time grows with them"
    assert Own().schema_here()["properties"]["steps"]["default"] == 4


def test_presets_cross_processes() -> None:
    assert pickle.loads(pickle.dumps(Own(steps=2))) == Own(steps=2)
