"""Errors cross processes whole, and each has its status."""

from __future__ import annotations

import copy
import pickle

import pytest

from deployments.core import errors
from deployments.core.errors import DeadlineExceeded, InvalidRequest, Overloaded, SpeechError, Unavailable

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SpeechError)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_keeps_its_fields(kind: type[SpeechError], clone: object) -> None:
    error = kind("what was wrong", param="input", code="special", retry_after_s=1.5)
    again = clone(error)  # type: ignore[operator]
    assert type(again) is kind
    assert (again.message, again.param, again.code, again.retry_after_s) == (
        "what was wrong",
        "input",
        "special",
        1.5,
    )
    assert str(again) == "what was wrong"
    assert (again.status, again.type) == (kind.status, kind.type)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_status_and_a_code_of_its_own(kind: type[SpeechError]) -> None:
    assert 400 <= kind.status < 600
    assert kind("x").code == kind.default_code
    assert kind.type == ("server_error" if kind.status >= 500 else kind.type) != ""


def test_statuses() -> None:
    assert (InvalidRequest.status, Overloaded.status, Unavailable.status) == (400, 429, 503)
    assert (DeadlineExceeded.status, DeadlineExceeded("late").code) == (504, "deadline_exceeded")
