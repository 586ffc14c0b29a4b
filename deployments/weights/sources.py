"""What a family says of the weights that can be pulled for it: files, where they come from, where they lie here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class HubFile:
    """A file of a Hugging Face repository; a path that ends in `/` is the whole folder."""

    repo: str
    path: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hf:{self.repo}/{self.path}"


@dataclass(frozen=True)
class ModelScopeFile:
    """A file of a ModelScope repository; a path that ends in `/` is the whole folder."""

    repo: str
    path: str
    revision: str = "master"

    def __str__(self) -> str:
        return f"modelscope:{self.repo}/{self.path}"


@dataclass(frozen=True)
class NpmFile:
    """A file inside an npm package (`name@version`); `path` as in the tarball."""

    package: str
    path: str

    def __str__(self) -> str:
        return f"npm:{self.package}/{self.path}"


Origin = HubFile | ModelScopeFile | NpmFile


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its place in the model's directory and its origins, best first.

    `target` ending in `/` is a folder, whose files are whatever the origin holds. `sha256` is the digest, or as much of
    its beginning as is known. `json_sha256` is the digest of the parsed content, for JSON files that differ in white
    space between origins. Any of the `alternatives` does as well; the first that can be had is taken.
    """

    target: str
    origins: tuple[Origin, ...]
    size: int | None = None
    sha256: str | None = None
    json_sha256: str | None = None
    required: bool = True
    alternatives: tuple[ModelFile, ...] = ()

    @property
    def is_folder(self) -> bool:
        return self.target.endswith("/")

    @property
    def choices(self) -> tuple[ModelFile, ...]:
        """The file and its alternatives, best first."""
        return self, *self.alternatives

    def exists_in(self, directory: Path) -> bool:
        """Whether it or an alternative is there."""
        return self.found_in(directory) is not None

    def found_in(self, directory: Path) -> ModelFile | None:
        """Which of the choices is there."""
        return next((file for file in self.choices if file._lies_in(directory)), None)

    def _lies_in(self, directory: Path) -> bool:
        path = directory / self.target
        return (path.is_dir() and any(path.iterdir())) if self.is_folder else path.is_file()


@dataclass(frozen=True)
class ModelSource:
    """A model that can be pulled. A family lists its own as SOURCES in its `weights.py`.

    `check`: "package.module.function" of a function (directory) -> list of problems, which looks deeper into the
    files than their digests do; it is imported when `voicegraph models verify` needs it.
    """

    name: str
    licence: str
    files: tuple[ModelFile, ...]
    check: str | None = None

    def missing(self, directory: Path) -> list[str]:
        """The required files that are not in `directory`, as people call them."""
        return [
            " or ".join(choice.target for choice in file.choices)
            for file in self.files
            if file.required and not file.exists_in(directory)
        ]


def hub_file(
    target: str, repo: str, path: str | None = None, *, modelscope: str, required: bool = True
) -> ModelFile:
    """`path` of a Hugging Face repository, and of its copy on ModelScope, as `target` in the model's directory; by
    default it is called the same."""
    place = path or target
    return ModelFile(target, (HubFile(repo, place), ModelScopeFile(modelscope, place)), required=required)
