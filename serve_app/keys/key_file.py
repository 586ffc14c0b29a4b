"""The file of a server's API keys: JSON that holds hashes, so a copy of it opens nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import filelock
from pydantic import TypeAdapter, ValidationError

from serve_app.keys.api_key import ApiKey

DEFAULT_PATH = Path("~/.config/voicegraph/keys.json")
LOCK_TIMEOUT_S = 10.0


class KeysError(Exception):
    """The keys cannot be read or changed; the message says why and what to do."""


_Keys = TypeAdapter(list[ApiKey])


def parse_keys(text: str | bytes, place: str) -> tuple[ApiKey, ...]:
    """The keys in the content of a file. Raises KeysError, which shows none of it."""
    try:
        content = json.loads(text)
        keys = tuple(_Keys.validate_python(content["keys"]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fault = ".".join(str(part) for part in ("keys", *first["loc"]))
        raise KeysError(f"{place}: {fault}: {first['msg']}") from None
    except (ValueError, KeyError, TypeError):
        raise KeysError(f'{place} is not a file of keys, which is JSON: {{"keys": […]}}') from None
    ids = [key.id for key in keys]
    if twice := {key_id for key_id in ids if ids.count(key_id) > 1}:
        raise KeysError(f"{place} has the key {min(twice)} twice")
    return keys


def keys_in_environment(variable: str) -> tuple[ApiKey, ...]:
    """The keys in an environment variable that has the content of a file. Raises KeysError."""
    place = f"the environment variable {variable}"
    content = os.environ.get(variable)
    if content is None:
        raise KeysError(f"{place} is not set")
    return parse_keys(content, place)


class KeyFile:
    """Changes replace the file as a whole, so that a server that reads it meanwhile sees the old or the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()

    def read(self) -> tuple[ApiKey, ...]:
        """Raises KeysError, also where there is no file."""
        try:
            return parse_keys(self.path.read_bytes(), str(self.path))
        except FileNotFoundError:
            raise KeysError(
                f"there is no file {self.path}; `voicegraph keys add NAME --file {self.path}` makes one"
            ) from None
        except OSError as error:
            raise KeysError(f"{self.path} cannot be read: {error.strerror}") from None

    def add(self, key: ApiKey) -> None:
        """Raises KeysError."""
        with self._changing():
            self._write((*(self.read() if self.path.exists() else ()), key))

    def revoke(self, key_id: str) -> ApiKey:
        """Raises KeysError, also where there is no such key."""
        with self._changing():
            keys = self.read()
            for key in keys:
                if key.id == key_id:
                    self._write(tuple(other for other in keys if other is not key))
                    return key
        raise KeysError(f"{self.path} has no key {key_id!r}; `voicegraph keys ls` lists them")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(f"{self.path}.lock", timeout=LOCK_TIMEOUT_S):
                yield
        except filelock.Timeout:
            raise KeysError(f"{self.path} is being changed by somebody else; try again") from None
        except OSError as error:
            raise KeysError(f"{self.path} cannot be written: {error.strerror}") from None

    def _write(self, keys: tuple[ApiKey, ...]) -> None:
        part = self.path.with_name(f".{self.path.name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"keys": [asdict(key) for key in keys]}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)
