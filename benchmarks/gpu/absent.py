"""Stand-ins for packages that are imported along the way and not installed on a bare machine."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class Absent:
    """May be named in annotations and subclassed, not used."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise ModuleNotFoundError(f"{type(self).__name__} belongs to a package that is not installed here")


class StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Absent,), {})


def stand_in(*names: str) -> None:
    """Put a module of that name where there is none; parents before their submodules."""
    for name in names:
        parent, _, child = name.rpartition(".")
        if name in sys.modules or (not isinstance(sys.modules.get(parent), StandIn) and _is_installed(name)):
            continue
        module = StandIn(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__path__ = []
        sys.modules[name] = module
        if parent:
            setattr(sys.modules[parent], child, module)


def _is_installed(name: str) -> bool:
    # Asking for a submodule would import its parent.
    return importlib.util.find_spec(name.partition(".")[0]) is not None
