"""Where the files of a configured checkpoint lie: under the name it is pulled by, or in a directory of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from deployments.core.errors import CheckpointError
from deployments.weights.registry import REGISTRY, find_model, model_directory


def locate(checkpoint: str, root: Path | None = None) -> Path:
    """The directory of `checkpoint`: a name known to `voicegraph models`, a path (anything with a `/`), or the name of
    a directory among the models that was made there by other means or comes with the repository.

    Raises CheckpointError, with what to do, if it or a file that a known model requires is missing.
    """
    if "/" in checkpoint or os.sep in checkpoint:
        directory = Path(checkpoint).expanduser()
    elif checkpoint in REGISTRY:
        return find_model(checkpoint, root)
    else:
        directory = model_directory(checkpoint, root)
    if not directory.is_dir():
        raise CheckpointError(
            f"there is no checkpoint in {directory}. `checkpoint` is a name to pull ({', '.join(sorted(REGISTRY))}), "
            "or a path to a directory"
        )
    return directory
