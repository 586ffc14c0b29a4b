"""The measuring packages: whether they are here, and what to type if they are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from serve_app.quality.errors import EvalError

EXTRA = "pip install 'voicegraph[quality]'"
# Of this package only the weights are read. Its own dependencies need a compiler and are not wanted.
SPEAKER = "pip install --no-deps Resemblyzer==0.1.4"

NEEDED: dict[str, dict[str, str]] = {
    "wer": {"jiwer": EXTRA, "moonshine_cpp": EXTRA},
    "similarity": {"resemblyzer": SPEAKER},
    "dnsmos": {"speechmos": EXTRA},
}
MEASURES = tuple(NEEDED)
ALL_MEASURES = ",".join(MEASURES)


def check_measures(measures: Iterable[str]) -> None:
    """EvalError for a measure that there is not, or whose packages are missing."""
    chosen = list(measures)
    if unknown := [name for name in chosen if name not in NEEDED]:
        raise EvalError(f"there is no measure {', '.join(unknown)}, only {', '.join(MEASURES)}")
    lacking = {
        package: command
        for name in chosen
        for package, command in NEEDED[name].items()
        if importlib.util.find_spec(package) is None
    }
    if lacking:
        present = [name for name in chosen if not lacking.keys() & NEEDED[name].keys()]
        instead = f"; or measure less: --measures {','.join(present)}" if present else ""
        commands = " && ".join(dict.fromkeys(lacking.values()))
        raise EvalError(f"missing to measure: {', '.join(lacking)}. Run: {commands}{instead}")


def file_of(package: str, path: str) -> Path:
    """A file inside an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        if (found := Path(folder) / path).is_file():
            return found
    raise EvalError(f"the package {package} has no {path}; install the version named in docs/quality.md")
