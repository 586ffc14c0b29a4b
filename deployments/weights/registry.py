"""The models that can be pulled, of all families, and where their files lie on this machine."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from deployments.core.command_line import voicegraph
from deployments.core.errors import CheckpointError
from deployments.core.pipeline import families
from deployments.weights.sources import ModelSource

MODELS_VARIABLE = "VOICEGRAPH_MODELS"
DEFAULT_ROOT = Path("~/.cache/voicegraph/models")
CARRIED = Path(__file__).resolve().parents[2] / "models"  # of the repository; an installed package has none
PICKLES = (".pth", ".pt", ".bin")
MAX_NAMED = 8  # missing files listed by name in an error; the rest is counted


@cache
def registry() -> Mapping[str, ModelSource]:
    """By name, what the families list in their `weights.py`."""
    found = {}
    for family in families():
        place = f"deployments.{family}.weights"
        if importlib.util.find_spec(place) is not None:
            sources: Sequence[ModelSource] = importlib.import_module(place).SOURCES
            found.update({source.name: source for source in sources})
    return found


def model_source(name: str, known: Mapping[str, ModelSource] | None = None) -> ModelSource:
    """Raises CheckpointError for a name that is not in the registry."""
    known = registry() if known is None else known
    if name not in known:
        raise CheckpointError(f"there is no model {name!r} to pull; known are: {', '.join(sorted(known))}")
    return known[name]


def pull_command(name: str) -> str:
    return voicegraph(f"models pull {name}")


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


def locate(checkpoint: str, root: Path | None = None) -> Path:
    """The directory of a configured `checkpoint`: a name known to `voicegraph models`, a path (anything with a `/`), or
    the name of a directory among the models that was made there by other means or comes with the repository.

    Raises CheckpointError, with what to do, if it or a file that a known model requires is missing.
    """
    if "/" in checkpoint or os.sep in checkpoint:
        directory = Path(checkpoint).expanduser()
    elif checkpoint in registry():
        return find_model(checkpoint, root)
    else:
        directory = model_directory(checkpoint, root)
    if not directory.is_dir():
        raise CheckpointError(
            f"there is no checkpoint in {directory}. `checkpoint` is a name to pull ({', '.join(sorted(registry()))}), "
            "or a path to a directory"
        )
    return directory


def conversion_of(pickle: Path) -> Path | None:
    """The `.safetensors` beside a pickle, which may be gone by now, unless it is older; None for other files."""
    fast = pickle.with_suffix(".safetensors")
    if pickle.suffix not in PICKLES or not fast.is_file():
        return None
    return fast if not pickle.is_file() or fast.stat().st_mtime >= pickle.stat().st_mtime else None


def missing_files(directory: Path, missing: Sequence[str], name: str) -> str:
    """The error text for files that are not there."""
    named = ", ".join(missing[:MAX_NAMED])
    more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
    return f"{directory} lacks {named}{more}. Run: {pull_command(name)}"
