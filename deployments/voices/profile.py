"""What a model made of a reference recording: named arrays under a key that says where they came from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

_KEY = re.compile(r"[0-9a-f]{64}-[0-9a-f]{32}")


@dataclass(frozen=True, eq=False)
class VoiceProfile:
    """Read-only arrays by name; which names there are is between a model's encoder and its pipeline.

    An encoder returns a profile without a key; the library gives it one (`voice_key`), and by that key
    replicas cache it. Arrays of other layouts than C order are copied; any dtype that safetensors and numpy
    share is allowed.
    """

    arrays: Mapping[str, NDArray[Any]]
    key: str = ""
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        arrays = {name: _frozen(name, array) for name, array in self.arrays.items()}
        if not arrays:
            raise ValueError("a voice profile needs at least one array")
        object.__setattr__(self, "arrays", MappingProxyType(arrays))
        object.__setattr__(self, "nbytes", sum(array.nbytes for array in arrays.values()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        try:
            return self.arrays[name]
        except KeyError:
            raise KeyError(f"no array {name!r} in this voice profile, only {sorted(self.arrays)}") from None

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __reduce__(self) -> tuple[Any, ...]:
        return VoiceProfile, (dict(self.arrays), self.key)

    def with_key(self, key: str) -> VoiceProfile:
        return replace(self, key=key)

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        return save(dict(self.arrays), metadata={"key": self.key})

    @staticmethod
    def from_bytes(data: bytes, key: str) -> VoiceProfile:
        """Raises ValueError where `data` is no safetensors file."""
        try:
            return VoiceProfile(load(data), key)
        except (SafetensorError, KeyError) as error:
            raise ValueError(f"not a voice profile: {error}") from error


@dataclass(frozen=True, slots=True)
class EncodedProfile:
    """What an encoder made of a recording, still without a key, and the version of the weights that made it."""

    profile: VoiceProfile
    model_version: str


def voice_key(audio_sha256: str, model: str, model_version: str, reference_text: str = "") -> str:
    """Name of the profile that `model` makes of a recording: equal inputs have equal keys, on every replica.

    `model_version` must change with the weights or with the encoder's code. The reference text counts,
    because some models read it together with the recording. The key starts with the hash of the recording.
    """
    made_by = json.dumps([model, model_version, reference_text])
    return f"{audio_sha256}-{hashlib.sha256(made_by.encode()).hexdigest()[:32]}"


def split_key(key: str) -> tuple[str, str]:
    """Hash of the recording, hash of what made the profile. Raises ValueError for what is no voice key."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a voice key: {key!r}")
    audio_sha256, made_by = key.split("-")
    return audio_sha256, made_by


def _frozen(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not name or name == "__metadata__":
        raise ValueError(f"an array of a voice profile cannot be named {name!r}")
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"array {name!r} of a voice profile has dtype {array.dtype}; allowed: bool, int, float"
        )
    # safetensors writes raw memory: other byte orders and layouts would come back as other numbers.
    array = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C").view()
    array.setflags(write=False)
    return array
