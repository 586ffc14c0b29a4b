"""Does a directory hold what its config.json promises: files, and names and shapes of all tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from deployments.core.errors import CheckpointError
from deployments.networks.weight_norm import fold_weight_norm
from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.dims import VoxCPMDims
from deployments.voxcpm.network import VoxCPMNetwork
from deployments.voxcpm.vae.decoder import VaeDecoder
from deployments.voxcpm.vae.encoder import UNUSED, VaeEncoder
from deployments.weights.tensors import without_values
from deployments.weights.verify import Shapes, shape_problems


def recognise(directory: Path) -> str | None:
    """What a directory is, in a sentence; None if it is no VoxCPM directory."""
    try:
        dims = VoxCPMCheckpoint(directory).dims
    except CheckpointError:
        return None
    patch = f"patches of {1000 * dims.patch_s:.0f} ms at {dims.vae.out_sample_rate_hz} Hz"
    return f"VoxCPM of architecture {dims.architecture}: {patch}"


def problems(directory: Path) -> list[str]:
    """What is wrong with a VoxCPM directory; weights are not read. Empty: nothing was found."""
    try:
        checkpoint = VoxCPMCheckpoint(directory)
        if missing := checkpoint.missing():
            return [f"{name} is missing" for name in missing]
        checkpoint.tokenizer  # noqa: B018  (it raises)
        model, vae = checkpoint.model_tensors, checkpoint.vae_tensors
    except CheckpointError as error:
        return [str(error)]
    dims = checkpoint.dims
    return [
        *shape_problems(checkpoint.path("model").name, model, model_shapes(dims)),
        *shape_problems(checkpoint.path("audiovae").name, _used(vae), vae_shapes(dims, folded=_folded(vae))),
    ]


def model_shapes(dims: VoxCPMDims) -> Shapes:
    """Of everything but the VAE."""
    with without_values():
        return _shapes(VoxCPMNetwork(dims))


def vae_shapes(dims: VoxCPMDims, *, folded: bool = False) -> Shapes:
    """`folded`: weight norms are."""
    with without_values():
        vae = nn.ModuleDict({"encoder": VaeEncoder(dims.vae), "decoder": VaeDecoder(dims.vae)})
        if folded:
            fold_weight_norm(vae)
    return _shapes(vae)


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def _folded(tensors: Mapping[str, Tensor]) -> bool:
    return not any(name.endswith(".weight_g") for name in tensors)


def _used(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(f"encoder.{UNUSED}")}
