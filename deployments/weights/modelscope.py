"""ModelScope repositories, for where Hugging Face is blocked: the same files, by their sha256."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

from deployments.core.errors import CheckpointError
from deployments.weights.fetch import Fetched, Received
from deployments.weights.sources import ModelScopeFile, Origin

PACKAGE = "modelscope_hub"


class ModelScopeFetcher:
    """Through ModelScope's own client, which resumes and compares sha256; `MODELSCOPE_ENDPOINT` names a mirror."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], dict[str, Any]] = {}

    def accepts(self, origin: Origin) -> bool:
        return isinstance(origin, ModelScopeFile)

    def unavailable(self) -> str | None:
        if importlib.util.find_spec(PACKAGE) is None:
            return "ModelScope needs its client (`pip install modelscope-hub`)"
        return None

    def size_bytes(self, origin: Origin) -> int | None:
        assert isinstance(origin, ModelScopeFile)
        return sum(file.size for file in self._below(origin).values())

    def fetch(self, origin: Origin, scratch: Path, received: Received) -> Fetched:
        from modelscope_hub.errors import HubError  # noqa: PLC0415

        assert isinstance(origin, ModelScopeFile)
        files = self._below(origin)
        if not files:
            raise CheckpointError(f"{origin}: the repository holds no such file")
        local = scratch / "modelscope" / origin.repo.replace("/", "--")
        for name, file in files.items():
            try:
                _api().download_file(
                    origin.repo,
                    "model",
                    name,
                    revision=origin.revision,
                    local_dir=local,
                    expected_sha256=file.sha256,
                    file_size=file.size,
                )
            except (HubError, OSError, ValueError) as error:
                raise CheckpointError(f"{origin}: {error}") from error
            received(file.size)
        return Fetched(local / origin.path, origin.revision)

    def _below(self, origin: ModelScopeFile) -> dict[str, Any]:
        """By path, what ModelScope says of the file or of the files of the folder."""
        from modelscope_hub.errors import HubError  # noqa: PLC0415

        key = (origin.repo, origin.revision)
        if key not in self._files:
            try:
                listed = _api().list_repo_files(origin.repo, "model", revision=origin.revision)
            except (HubError, OSError, ValueError) as error:
                raise CheckpointError(f"{origin}: {error}") from error
            self._files[key] = {file.path: file for file in listed if not file.is_dir}
        path = origin.path
        return {
            name: file
            for name, file in self._files[key].items()
            if name == path or (path.endswith("/") and name.startswith(path))
        }


def _api() -> Any:
    from modelscope_hub import HubApi  # noqa: PLC0415  (an extra)

    logging.getLogger(PACKAGE).setLevel(logging.ERROR)
    return HubApi()
