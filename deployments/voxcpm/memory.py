"""How much device memory the stages take, from sizes of files and settings: an estimate, nothing is loaded."""

from __future__ import annotations

from deployments.voxcpm.checkpoint import VoxCPMCheckpoint
from deployments.voxcpm.settings import VoxCPMSettings

VALUE_BYTES = {"float32": 4, "bfloat16": 2}
# Of each process: what CUDA takes before the first tensor, and what a step needs beside weights and caches. Guesses
# on the safe side; recordings are encoded in short windows.
CONTEXT_BYTES, WORKSPACE_BYTES = 500_000_000, 750_000_000


def stage_bytes(settings: VoxCPMSettings, files: VoxCPMCheckpoint) -> dict[str, int]:
    """By stage, of one replica each."""
    vae = files.path("audiovae").stat().st_size  # float32 in the file as on the device
    stored = VALUE_BYTES.get(files.dims.dtype, VALUE_BYTES["bfloat16"])
    values = files.path("model").stat().st_size // stored
    networks = values * VALUE_BYTES[settings.engine.dtype]
    weights = {"encoder": vae, "engine": networks + vae + _slots_bytes(settings, files)}
    return {stage: size + CONTEXT_BYTES + WORKSPACE_BYTES for stage, size in weights.items()}


def _slots_bytes(settings: VoxCPMSettings, files: VoxCPMCheckpoint) -> int:
    """Keys and values of both language models in all slots at their full length."""
    engine, dims = settings.engine, files.dims
    values = sum(2 * tower.layers * tower.kv_heads * tower.head_dim for tower in (dims.base, dims.residual))
    positions = engine.slots * min(engine.max_length, dims.max_length)
    return values * positions * VALUE_BYTES[engine.dtype]
