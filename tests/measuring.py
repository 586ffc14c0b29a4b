"""What tests with the networks of `voicegraph eval` share: when they are skipped, and a recording with known words."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from serve_app.quality import EvalError
from serve_app.quality.packages import check_measures

BECKETT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


def needs(*measures: str) -> None:
    """Skip where packages are missing: moonshine-cpp has wheels for few platforms."""
    try:
        check_measures(measures)
    except EvalError as error:
        pytest.skip(str(error))


def beckett_recording() -> Path:
    """Ten seconds of a man reading BECKETT, which moonshine-cpp carries."""
    needs("wer")
    spec = importlib.util.find_spec("moonshine_cpp")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "test-data" / "beckett.wav"
