from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_toy import Counting, engine_of


@pytest.fixture
def started() -> Iterator[Callable[..., Any]]:
    """Makes started engines and stops them."""
    engines = []

    def start(model: Counting, **limits: Any) -> Any:
        engines.append(engine := engine_of(model, **limits))
        engine.start()
        return engine

    yield start
    for engine in engines:
        engine.stop()
