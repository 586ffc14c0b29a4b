"""Profiles on disk or in an object store: what a voice costs to encode is paid once, not once per restart."""

from __future__ import annotations

import hashlib
import json

from deployments.core.logs import logger
from deployments.voices.files import Files, Lock
from deployments.voices.profile import VoiceProfile, split_key

LOCKS = 256  # lock files are never deleted (whoever waits for one holds it open), so their number is fixed


class ProfileStore:
    """`profiles/<recording>/<made by>.json` names a safetensors file beside it and that file's hash.

    The arrays are written first, under a name with their hash, and the manifest last: a reader sees a whole
    profile or none, whatever other writers do. What does not fit its manifest is moved to `quarantine/` and
    counts as absent.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def load(self, key: str) -> VoiceProfile | None:
        """The profile of `key`; None where there is none or it is damaged."""
        audio_sha256, made_by = split_key(key)
        text = self._files.read(f"profiles/{audio_sha256}/{made_by}.json")
        if text is None:
            return None
        name = ""
        try:
            manifest = json.loads(text)
            name = _data_name(made_by, manifest["sha256"])
            data = self._files.read(f"profiles/{audio_sha256}/{name}")
            if data is None or hashlib.sha256(data).hexdigest() != manifest["sha256"]:
                raise ValueError("its arrays are missing, cut off or changed")
            return VoiceProfile.from_bytes(data, key)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("voice profile %s is put into quarantine and will be made again: %s", key, error)
            for damaged in filter(None, (f"{made_by}.json", name)):
                self._put_aside(f"{audio_sha256}/{damaged}")
            return None

    def save(self, profile: VoiceProfile) -> None:
        audio_sha256, made_by = split_key(profile.key)
        data = profile.to_bytes()
        digest = hashlib.sha256(data).hexdigest()
        shapes = {name: [str(array.dtype), list(array.shape)] for name, array in profile.arrays.items()}
        manifest = {"key": profile.key, "sha256": digest, "bytes": len(data), "arrays": shapes}
        self._files.write(f"profiles/{audio_sha256}/{_data_name(made_by, digest)}", data)
        self._files.write(f"profiles/{audio_sha256}/{made_by}.json", json.dumps(manifest, indent=1).encode())

    def _put_aside(self, path: str) -> None:
        data = self._files.read(f"profiles/{path}")
        if data is not None:
            self._files.write(f"quarantine/{path}", data)
            self._files.delete(f"profiles/{path}")

    def lock(self, key: str) -> Lock:
        """Held by whoever makes the profile of `key`. One profile in 256 shares it: then one waits for the other."""
        audio_sha256, made_by = split_key(key)
        return self._files.lock(f"profile-{(int(audio_sha256, 16) ^ int(made_by, 16)) % LOCKS:02x}")

    def delete(self, audio_sha256: str) -> None:
        """Delete all profiles of a recording, of whatever model."""
        split_key(f"{audio_sha256}-{'0' * 32}")  # a malformed hash must not become a path
        for folder in ("profiles", "quarantine"):
            for name in self._files.names(f"{folder}/{audio_sha256}"):
                if name.endswith(".json"):
                    self._files.delete(f"{folder}/{audio_sha256}/{name}")
            self._files.delete(f"{folder}/{audio_sha256}")


def _data_name(made_by: str, digest: str) -> str:
    if not digest.isalnum():
        raise ValueError("its manifest holds no hash")
    return f"{made_by}-{digest[:16]}.safetensors"
