"""Voices for engines that are called without Ray."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from deployments.voices.profile import VoiceProfile


class Known:
    """A profile that needs no waiting for."""

    def __init__(self, profile: VoiceProfile) -> None:
        self._profile = profile

    def __await__(self) -> Generator[Any, None, VoiceProfile]:
        return self._profile
        yield
