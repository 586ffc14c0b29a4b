"""Hugging Face repositories, and mirrors of the hub (`HF_ENDPOINT`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import httpx

from deployments.core.errors import CheckpointError
from deployments.weights.download import download
from deployments.weights.fetch import Fetched, Received
from deployments.weights.manifest import file_sha256
from deployments.weights.sources import HubFile, Origin

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class HubEntry:
    """What the hub says of a file: `sha256` of a large one, `git_sha1` (as a blob of git) of a small one."""

    size: int | None
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True)
class HubRepository:
    """All files of one commit, so that what is pulled together belongs together."""

    commit: str
    files: dict[str, HubEntry]

    def below(self, path: str) -> list[str]:
        """The file `path`, or the files of the folder `path/`."""
        return [name for name in self.files if name == path or (path.endswith("/") and name.startswith(path))]


class HubFetcher:
    """Downloads resume from what `scratch` holds, and are compared with what the hub says of each file."""

    def __init__(self, endpoint: str | None = None) -> None:
        """`endpoint`: address of the hub or of a mirror; None: $HF_ENDPOINT, or else the hub's own."""
        self._endpoint = endpoint
        self._repositories: dict[tuple[str, str], HubRepository] = {}
        self._unreachable: str | None = None

    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, HubFile)

    def unavailable(self) -> str | None:
        return self._unreachable

    def size_bytes(self, origin: Origin) -> int | None:
        assert isinstance(origin, HubFile)
        repository = self._repository(origin)
        sizes = [repository.files[name].size for name in repository.below(origin.path)]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        assert isinstance(origin, HubFile)
        repository = self._repository(origin)
        names = repository.below(origin.path)
        if not names:
            kind = "folder" if origin.path.endswith("/") else "file"
            raise CheckpointError(f"{origin}: the repository holds no such {kind}")
        local = scratch / "hub" / origin.repo.replace("/", "--") / repository.commit
        for name in names:
            one = HubFile(origin.repo, name, repository.commit)
            self._fetch_file(one, local / name, repository.files[name], received)
        return Fetched(local / origin.path, repository.commit)

    def _fetch_file(self, origin: HubFile, target: Path, entry: HubEntry, received: Received) -> None:
        from huggingface_hub import hf_hub_url  # noqa: PLC0415  (slow import)
        from huggingface_hub.utils import build_hf_headers  # noqa: PLC0415

        if not target.is_file():
            url = hf_hub_url(origin.repo, origin.path, revision=origin.revision, endpoint=self._endpoint)
            try:
                download(url, target, build_hf_headers(), entry.size, received)
            except (httpx.HTTPError, OSError, ValueError) as error:
                raise self._refusal(origin, error) from error
        if problem := _problem(target, entry):
            received(-target.stat().st_size)
            target.unlink()  # else the next pull would take it for whole
            raise CheckpointError(f"{origin}: {problem}")

    def _repository(self, origin: HubFile) -> HubRepository:
        from huggingface_hub import HfApi  # noqa: PLC0415
        from huggingface_hub.errors import HTTPError  # noqa: PLC0415  (httpx's or httpx2's, by the release)

        key = (origin.repo, origin.revision)
        if key in self._repositories:
            return self._repositories[key]
        if self._unreachable:
            raise CheckpointError(self._unreachable)
        try:
            info = HfApi(endpoint=self._endpoint).model_info(
                origin.repo, revision=origin.revision, files_metadata=True, timeout=TIMEOUT_S
            )
        except (HTTPError, OSError, ValueError) as error:
            raise self._refusal(origin, error) from error
        files = {
            file.rfilename: HubEntry(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
            for file in info.siblings or ()
        }
        self._repositories[key] = HubRepository(info.sha or origin.revision, files)
        return self._repositories[key]

    def _refusal(self, origin: HubFile, error: Exception) -> CheckpointError:
        """What went wrong, and what helps."""
        from huggingface_hub.constants import ENDPOINT  # noqa: PLC0415

        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return CheckpointError(
                f"{origin}: the hub refuses it ({status}). Accept the licence on the page of {origin.repo}, "
                "make a token in your account there and set it as HF_TOKEN"
            )
        if status is not None:
            return CheckpointError(f"{origin}: the hub answers {status}")
        if isinstance(error, ValueError):
            return CheckpointError(f"{origin}: {error}")
        if type(error).__name__ == "OfflineModeIsEnabled":
            reason = "HF_HUB_OFFLINE is set"
        else:
            reason = str(error) or type(error).__name__
        self._unreachable = f"Hugging Face is out of reach at {self._endpoint or ENDPOINT} ({reason})"
        return CheckpointError(self._unreachable)


def _problem(path: Path, entry: HubEntry) -> str | None:
    """What differs from what the hub says, or None. Reads the whole file."""
    if entry.size is not None and (found := path.stat().st_size) != entry.size:
        return f"{found} bytes instead of {entry.size}"
    if entry.sha256 is not None:
        digest, promised = file_sha256(path), entry.sha256
    elif entry.git_sha1 is not None:
        content = path.read_bytes()
        # Not for security: it is how git names a file.
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        promised = entry.git_sha1
    else:
        return None
    return None if digest == promised else f"its digest is {digest} instead of {promised}"
