"""An official VoxCPM directory as an object: its config, its files and its tensors (voxcpm.md 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.core.errors import CheckpointError
from deployments.voxcpm.dims import VoxCPMDims, dims_from
from deployments.weights.registry import missing_files

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deployments.voxcpm.network import VoxCPMNetwork
    from deployments.voxcpm.text.tokenizer import VoxCPMTokenizer

# By what they hold: the names under which a file is published, best first.
FILES: dict[str, tuple[str, ...]] = {
    "config": ("config.json",),
    "model": ("model.safetensors", "pytorch_model.bin"),
    "audiovae": ("audiovae.safetensors", "audiovae.pth"),
    "tokenizer": ("tokenizer.json",),
    "tokenizer_config": ("tokenizer_config.json",),
}
WRAPPER = "state_dict."  # under which a pickle may hold its tensors


class VoxCPMCheckpoint:
    """Files are looked up when asked for. `model` is the name to pull, for the message about those that are missing."""

    def __init__(self, directory: Path, *, model: str = "voxcpm-1.5") -> None:
        """Reads config.json. Raises CheckpointError if it is missing or makes no sense."""
        self.directory = directory
        self.model = model
        path = self.path("config")
        try:
            config: Any = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path}: {error}") from error
        if not isinstance(config, Mapping):
            raise CheckpointError(f"{path}: a mapping is expected")
        try:
            self.dims: VoxCPMDims = dims_from(config)
        except CheckpointError as error:
            raise CheckpointError(f"{directory}: {error}") from error

    def find(self, file: str) -> Path | None:
        """The path of one of FILES, None if it is missing."""
        return next((p for name in FILES[file] if (p := self.directory / name).is_file()), None)

    def missing(self) -> list[str]:
        """Names of files that are not there."""
        return [" or ".join(names) for file, names in FILES.items() if self.find(file) is None]

    def path(self, file: str) -> Path:
        """As `find`, but raises CheckpointError with the command that fixes it."""
        found = self.find(file)
        if found is None:
            names = " or ".join(FILES[file])
            raise CheckpointError(missing_files(self.directory, [names], self.model))
        return found

    @cached_property
    def model_tensors(self) -> Mapping[str, Tensor]:
        """Of everything but the VAE, memory-mapped. Raises CheckpointError."""
        return self._tensors("model")

    @cached_property
    def vae_tensors(self) -> Mapping[str, Tensor]:
        """Memory-mapped, names without prefix, weight norm as stored. Raises CheckpointError."""
        return self._tensors("audiovae")

    def network(self, *, device: str | torch.device, dtype: torch.dtype) -> VoxCPMNetwork:
        """All networks but the VAE, ready to run. Raises CheckpointError naming tensors that do not fit."""
        from deployments.voxcpm.network import load_network  # noqa: PLC0415  (torch; the router reads the rest)

        source = str(self.path("model"))
        return load_network(self.model_tensors, self.dims, source=source, device=device, dtype=dtype)

    @cached_property
    def tokenizer(self) -> VoxCPMTokenizer:
        """Raises CheckpointError."""
        from deployments.voxcpm.text.tokenizer import VoxCPMTokenizer  # noqa: PLC0415  (only who reads texts)

        self.path("tokenizer")
        return VoxCPMTokenizer(self.directory, vocabulary=self.dims.vocabulary)

    def _tensors(self, file: str) -> Mapping[str, Tensor]:
        from deployments.weights.tensors import read_tensors  # noqa: PLC0415  (torch)

        tensors = read_tensors(self.path(file))
        if tensors and all(name.startswith(WRAPPER) for name in tensors):
            return {name.removeprefix(WRAPPER): value for name, value in tensors.items()}
        return tensors
