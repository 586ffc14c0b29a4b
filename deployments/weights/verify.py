"""Is a model's directory what it should be: all files, right contents, tensors of the right dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from deployments.core.errors import CheckpointError
from deployments.indextts2.checkpoint import IndexTTSCheckpoint
from deployments.indextts2.shapes import Shapes, codec_shapes, gpt_shapes
from deployments.weights.manifest import file_sha256, read_manifest
from deployments.weights.pull import problem_of
from deployments.weights.registry import ModelSource, model_directory, model_source, pull_command

MAX_NAMED = 5
STYLE_WIDTH = 192
STAGES = ("text", "speaker_encoder", "emotion_matrix", "gpt", "s2mel", "vocoder")


def verify(
    name: str, root: Path | None = None, *, registry: Mapping[str, ModelSource] | None = None
) -> list[str]:
    """Read every file of a model and name what is wrong; an empty list means that all is well.

    Contents are compared with the registry's digests and with those the manifest recorded when the files were
    pulled. Raises CheckpointError only for a model the registry does not have.
    """
    source = model_source(name, registry)
    directory = model_directory(name, root)
    try:
        recorded = read_manifest(directory)
    except CheckpointError as error:
        return [str(error)]
    problems = [f"{file} is missing. Run: {pull_command(name)}" for file in source.missing(directory)]
    problems += [
        f"{file.target}: {problem}"
        for file in source.files
        if not file.is_folder
        and file.exists_in(directory)
        and (problem := problem_of(file, directory / file.target))
    ]
    known = {file.target for file in source.files if file.sha256}
    for target, entry in recorded.items():
        path = directory / target
        if path.is_file() and target not in known and file_sha256(path) != entry.sha256:
            problems.append(f"{target}: changed since it was pulled from {entry.source}")
    if name == "indextts2" and not problems:
        problems += verify_indextts(directory)
    return problems


def verify_indextts(directory: Path) -> list[str]:
    """Files, tensor names and shapes of an IndexTTS2 directory against its config.yaml; weights are not read.

    Only the front half's tensors are known by name here (gpt.pth, semantic codec, statistics, emotion
    matrices); the stages themselves check theirs, strictly, when they load.
    """
    try:
        checkpoint = IndexTTSCheckpoint(directory)
    except CheckpointError as error:
        return [str(error)]
    if missing := checkpoint.missing(*STAGES):
        return [f"{name} is missing. Run: {pull_command('indextts2')}" for name in missing]
    checks = (_gpt_problems, _codec_problems, _matrix_problems, _readable_problems)
    return [problem for check in checks for problem in _problems(check, checkpoint)]


def _problems(check: Callable[[IndexTTSCheckpoint], list[str]], checkpoint: IndexTTSCheckpoint) -> list[str]:
    try:
        return check(checkpoint)
    except CheckpointError as error:
        return [str(error)]


def shape_problems(file: str, tensors: Mapping[str, Tensor], expected: Shapes) -> list[str]:
    """What is missing, extra or of another shape, in one line per kind."""
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    shared = found.keys() & expected.keys()
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "unknown": sorted(found.keys() - expected.keys()),
        "of another shape": [
            f"{name} {found[name]} instead of {expected[name]}"
            for name in sorted(shared)
            if found[name] != expected[name]
        ],
    }
    return [
        f"{file}: {len(names)} tensors {kind}: {', '.join(names[:MAX_NAMED])}"
        + (", …" if names[MAX_NAMED:] else "")
        for kind, names in kinds.items()
        if names
    ]


def _gpt_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    expected = gpt_shapes(
        checkpoint.gpt_dims,
        checkpoint.speaker_dims,
        checkpoint.emotion_dims,
        checkpoint.codec_dims.hidden_size,
    )
    return shape_problems(checkpoint.path("gpt").name, checkpoint.tensors("gpt"), expected)


def _codec_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    name = checkpoint.path("semantic_codec").name
    return shape_problems(name, checkpoint.tensors("semantic_codec"), codec_shapes(checkpoint.codec_dims))


def _matrix_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    width, rows = checkpoint.codec_dims.hidden_size, sum(checkpoint.emotion_rows)
    problems = []
    tables: dict[str, Shapes] = {
        "w2v_stat": {"mean": (width,), "var": (width,)},
        "spk_matrix": {"": (rows, STYLE_WIDTH)},
        "emo_matrix": {"": (rows, checkpoint.gpt_dims.model_dim)},
    }
    for file, expected in tables.items():
        problems += shape_problems(checkpoint.path(file).name, checkpoint.tensors(file), expected)
    return problems


def _readable_problems(checkpoint: IndexTTSCheckpoint) -> list[str]:
    return [
        f"{checkpoint.path(file).name}: holds no tensors"
        for file in ("s2mel", "campplus", "vocoder")
        if not checkpoint.tensors(file)
    ]
