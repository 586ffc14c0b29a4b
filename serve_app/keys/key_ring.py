"""The keys that open a running server, kept as new as their file."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from deployments.core.logs import logger
from serve_app.config import AuthSettings
from serve_app.keys.api_key import ApiKey, id_of
from serve_app.keys.key_file import KeyFile, KeysError, keys_in_environment

LOOK_EVERY_S = 1.0  # so long a revoked key may go on


class KeyRing:
    """Fails closed: where the keys cannot be read, the last ones that could be hold, and at the start none."""

    def __init__(self, settings: AuthSettings) -> None:
        self._file = KeyFile(settings.keys_path) if settings.keys_path else None
        self._variable = settings.env
        self._keys: Mapping[str, ApiKey] = {}
        self._stamp: tuple[int, ...] | None = None
        self._looked_s = -LOOK_EVERY_S
        self._read_from_environment()

    def find(self, text: str) -> ApiKey | None:
        """The key that `text` is; None where it is none, or no longer."""
        key = self.with_id(id_of(text))
        return key if key is not None and key.opened_by(text) else None

    def with_id(self, key_id: str | None) -> ApiKey | None:
        self._look()
        return self._keys.get(key_id) if key_id is not None else None

    def _look(self) -> None:
        now_s = time.monotonic()
        if self._file is None or now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            state = os.stat(self._file.path)
            stamp: tuple[int, ...] = (state.st_mtime_ns, state.st_size, state.st_ino)
        except OSError:
            stamp = ()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(self._file.read())
        except KeysError as error:
            logger.error("API keys: %s. The keys read before this hold: %d", error, len(self._keys))

    def _read_from_environment(self) -> None:
        if self._variable is None:
            return
        try:
            self._take(keys_in_environment(self._variable))
        except KeysError as error:
            logger.error("API keys: %s. No key opens this server", error)

    def _take(self, keys: tuple[ApiKey, ...]) -> None:
        self._keys = {key.id: key for key in keys}
