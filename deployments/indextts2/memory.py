"""How much device memory the stages take, from sizes of files and settings: an estimate, nothing is loaded."""

from __future__ import annotations

from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.settings import IndexTTSSettings

VALUE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
AUXILIARY = ("w2v_bert", "semantic_codec", "campplus")  # files of the speaker stage, which it reads whole
TRAINING_COPIES = 3  # of each parameter in the official codec.pth: the state of its training lies beside it
FILE_VALUE_BYTES = 4  # the official files hold float32
# Of each process: what CUDA takes before the first tensor, and what a step needs beside weights and caches. Guesses
# on the safe side: activations are small (indextts2-back.md 8), what the allocator keeps of them is not.
CONTEXT_BYTES, WORKSPACE_BYTES = 500_000_000, 750_000_000


def stage_bytes(settings: IndexTTSSettings, files: IndexTTSCheckpoint) -> dict[str, int]:
    """By stage, of one replica each."""
    trunk = _trunk_values(files)
    rest_of_gpt = max(0, _values(files, "gpt") - trunk)  # conditioning, which the speaker stage runs
    auxiliary = [name for name in files.files("speaker_encoder") if name in AUXILIARY]
    speaker = rest_of_gpt + sum(_values(files, name) for name in auxiliary)
    weights = {
        "speaker": speaker * VALUE_BYTES[settings.speaker.dtype],
        "gpt": trunk * VALUE_BYTES[settings.gpt.dtype] + _slots_bytes(settings, files),
        "s2mel": (_values(files, "s2mel") + _decoder_values(files)) * VALUE_BYTES[settings.s2mel.dtype],
        "vocoder": _values(files, "vocoder") * VALUE_BYTES[settings.vocoder.dtype],
    }
    return {stage: size + CONTEXT_BYTES + WORKSPACE_BYTES for stage, size in weights.items()}


def _decoder_values(files: IndexTTSCheckpoint) -> int:
    """Parameters of a codec that runs in the mel stage."""
    if files.traits.prompts_by_codes:
        return 0  # of which that stage holds the codebook alone
    return _values(files, "semantic_codec") // TRAINING_COPIES


def _trunk_values(files: IndexTTSCheckpoint) -> int:
    """Parameters of the transformer with its tables: 12 squares of the width in each layer, embeddings and heads."""
    dims = files.gpt_dims
    tables = (
        2 * (dims.number_text_tokens + dims.number_mel_codes) + dims.max_text_tokens + dims.max_mel_tokens
    )
    return 12 * dims.layers * dims.model_dim**2 + tables * dims.model_dim


def _slots_bytes(settings: IndexTTSSettings, files: IndexTTSCheckpoint) -> int:
    """Keys and values of all slots at their full length."""
    dims = files.gpt_dims
    longest = dims.max_text_tokens + dims.max_mel_tokens + dims.condition_num_latent
    positions = settings.gpt.slots * (settings.gpt.max_length or longest)
    return 2 * dims.layers * dims.model_dim * positions * VALUE_BYTES[settings.gpt.dtype]


def _values(files: IndexTTSCheckpoint, name: str) -> int:
    path = files.path(name)
    size = (
        sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
        if path.is_dir()
        else path.stat().st_size
    )
    return size // FILE_VALUE_BYTES
