"""Voicegraph: text-to-speech models as one Ray Serve graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve_app.client import Speech, Voicegraph, connect, connect_blocking

__all__ = ["Speech", "Voicegraph", "connect", "connect_blocking"]


def __getattr__(name: str) -> Any:
    # Ray takes a second to import; the command line must not pay for it before it needs it.
    if name in __all__:
        from serve_app import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module 'serve_app' has no attribute {name!r}")
