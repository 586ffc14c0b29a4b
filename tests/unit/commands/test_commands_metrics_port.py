from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from serve_app.commands.metrics_port import ABOVE_HTTP, HOST, PortTaken, metrics_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this machine that somebody listens at."""
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_it_is_known_ahead_or_any_that_is_free(taken: int) -> None:
    found = metrics_port(None, taken - ABOVE_HTTP)
    assert found not in (taken, 0)
    assert metrics_port(found, 8000) == found
    assert metrics_port(None, found - ABOVE_HTTP) == found
    assert 0 < metrics_port(None, 65535) < 65536


def test_a_stated_port_that_is_taken_is_refused(taken: int) -> None:
    with pytest.raises(PortTaken, match=rf"port {taken} is in use; .* observe\.metrics_port"):
        metrics_port(taken, 8000)
