"""The configs that come with the package, by name: `cpu`, `gpu-24g`, …"""

from __future__ import annotations

from pathlib import Path

DEFAULT = "cpu"
FOLDER = Path(__file__).parent / "configs"  # in a clone a link to `configs/` at the top


class NoSuchConfig(Exception):
    """What was asked for is neither a file nor the name of one of ours."""


def config_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_path(given: str) -> Path:
    """A file, or the one of ours that has this name. Raises NoSuchConfig."""
    path = Path(given)
    if path.is_file():
        return path
    if given.removesuffix(".yaml") in config_names():
        return FOLDER / f"{given.removesuffix('.yaml')}.yaml"
    raise NoSuchConfig(
        f"{given}: cannot be read, because there is no such file; configs of the package are named "
        f"{', '.join(config_names())}"
    )
