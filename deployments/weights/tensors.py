"""Reading weight files and putting them into modules, strictly and without a second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deployments.core.errors import CheckpointError

MAX_NAMED = 5  # names listed per kind of mismatch; the rest is counted
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def dtype_named(name: str) -> torch.dtype:
    """As configurations name it. Raises ValueError, naming what is allowed, for any other name."""
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return DTYPES[name]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a `.safetensors` file, or of a pickled (nested) state dict, memory-mapped on the CPU.

    Nested dicts of a pickle are flattened with dots (`net.cfm.…`). Pickles are read with `weights_only=True`.
    Raises CheckpointError if the file is missing, damaged or holds code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            # Files of torch < 1.6 are not zip archives and cannot be mapped.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes the readers raise whatever it trips them over
        raise CheckpointError(f"{path}: cannot be read as weights ({error})") from error
    if isinstance(content, Tensor):
        return {"": content}
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__} instead of named tensors")
    return dict(_flatten(content))


def _flatten(content: Mapping[str, object], prefix: str = "") -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in content.items():
        if isinstance(value, Tensor):
            found.append((prefix + str(name), value))
        elif isinstance(value, Mapping):
            found += _flatten(value, f"{prefix}{name}.")
    return found


def subset(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under `prefix.` with the prefix taken off."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


class _NoInitialValues(TorchFunctionMode):
    """Modules draw their first values in ways that nobody needs who loads others; on the meta device torch even imports
    its compiler for that, which takes longer than all the rest of a start."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **kwargs)


@contextmanager
def without_values() -> Iterator[None]:
    """Modules that are made within have shapes alone, until `load_strict` gives them tensors."""
    with torch.device("meta"), _NoInitialValues():
        yield


def load_strict(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    unused: Callable[[str], bool] = lambda name: False,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Make `tensors` the parameters and buffers of `module` (which may live on the meta device).

    Nothing is copied.
    Every tensor of the module must be there with its shape, and nothing else may be there except names for
    which `unused(name)` is true. Floating-point tensors that a file stores in another precision are cast to
    `dtype`. Raises CheckpointError naming the missing, extra and mis-shaped tensors.
    """
    wanted = module.state_dict()
    given = {name: value for name, value in tensors.items() if name in wanted or not unused(name)}
    problems = _named("missing", sorted(wanted.keys() - given.keys()))
    problems += _named("not part of the model", sorted(given.keys() - wanted.keys()))
    problems += _named(
        "of another shape",
        [
            f"{name} {tuple(given[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in given and given[name].shape != value.shape
        ],
    )
    if problems:
        raise CheckpointError(f"{source}: " + "; ".join(problems))
    given = {n: v.to(dtype) if v.is_floating_point() else v for n, v in given.items()}
    module.load_state_dict(given, strict=True, assign=True)
    module.requires_grad_(False)
    module.eval()


def _named(kind: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return [f"{len(names)} tensors {kind}: " + ", ".join(names[:MAX_NAMED]) + more]
