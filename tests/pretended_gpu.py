"""A device that looks like a GPU to Python code and computes on the CPU: it finds tensors that were left behind.

Real numbers come out, so results can be compared. What a GPU would refuse is refused: operands on two devices, numpy
views of device memory, and while a graph is captured everything that waits for the device or copies from the host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
WAITS = {
    "item",
    "tolist",
    "cpu",
    "__bool__",
    "__int__",
    "__float__",
    "__index__",
    "nonzero",
    "unique",
    "numpy",
    "equal",
    "allclose",
    "masked_select",
    "bincount",
}
MOVES = {"to", "cpu", "tensor", "as_tensor"}
PLAIN = {
    "device",
    "_parse_to",
    "_has_compatible_shallow_copy_type",
    "shape.__get__",
    "dtype.__get__",
    "grad.__get__",
}


@dataclass(frozen=True)
class Call:
    """A call made while a graph was captured."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any

    def again(self) -> None:
        """On the same memory."""
        new = self.func(*self.args, **self.kwargs)
        given = {_memory(leaf) for leaf in _tensors((self.args, self.kwargs))}
        for old, value in zip(_tensors(self.result), _tensors(new), strict=True):
            if _memory(old) not in given:  # else a view, or changed in place
                old.copy_(value)


class PretendedGpu(TorchFunctionMode):
    """While it is active, `device="cuda"` works. Every thread enters it for itself, as all function modes."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.uploads = 0
        self.calls: list[Call] | None = None  # those of the graph that is being captured

    def reset(self) -> None:
        """Count from now on."""
        self.waits.clear()
        self.uploads = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, name = dict(kwargs or {}), _name(func)
        if name in PLAIN:
            return func(*args, **kwargs)
        if name == "device.__get__":
            return GPU if is_on_gpu(args[0]) else func(*args)
        if name == "is_cuda.__get__":
            return is_on_gpu(args[0])
        tensors = _tensors((args, kwargs))
        on_gpu = any(map(is_on_gpu, tensors))
        if on_gpu and (name in WAITS or _counts_mask(name, args)):
            self._waited(name)
        if name == "data.__set__":
            func(*args)
            _mark(args[0], is_on_gpu(args[1]))
            return None
        args, kwargs, target = _without_gpu(name, args, kwargs)
        if name in MOVES:
            return self._moved(name, func, args, kwargs, target, on_gpu)
        if name != "copy_":
            _check(name, tensors)
        elif is_on_gpu(args[0]) and not is_on_gpu(args[1]):
            self._uploaded(name)
        result = func(*args, **kwargs)
        for leaf in _tensors(result):
            _mark(leaf, on_gpu if target is None else target)
        if self.calls is not None and any(map(is_on_gpu, [*tensors, *_tensors(result)])):
            self.calls.append(Call(func, args, kwargs, result))
        return result

    def _moved(
        self,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        target: bool | None,
        on_gpu: bool,
    ) -> Any:
        if target is None:
            target = on_gpu and name in ("to", "as_tensor")
        if target and not on_gpu:
            self._uploaded(name)
        result = func(*args, **kwargs)
        if args and result is args[0] and target != on_gpu:
            result = result.detach().clone()  # on another device it always is another tensor
        _mark(result, target)
        return result

    def _waited(self, name: str) -> None:
        self.waits[name] += 1
        if name == "numpy":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()")
        self._not_while_capturing(name)

    def _uploaded(self, name: str) -> None:
        self.uploads += 1
        self._not_while_capturing(name)

    def _not_while_capturing(self, name: str) -> None:
        if self.calls is not None:
            raise RuntimeError(f"{name}: operation not permitted when stream is capturing")


def is_on_gpu(tensor: Tensor) -> bool:
    return bool(tensor.__dict__.get("_on_pretended_gpu", False))


def _counts_mask(name: str, args: tuple[Any, ...]) -> bool:
    """Whether an index is a mask: how many values it picks is known on the device only."""
    whole = name == "__getitem__" or (
        name == "__setitem__" and isinstance(args[2], Tensor) and args[2].dim() > 0
    )
    return whole and any(leaf.dtype == torch.bool and is_on_gpu(leaf) for leaf in _tensors(args[1]))


def _mark(tensor: Tensor, gpu: bool) -> None:
    tensor.__dict__["_on_pretended_gpu"] = gpu


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _name(func: Callable[..., Any]) -> str:
    name = getattr(func, "__name__", "")
    if name in ("__get__", "__set__"):
        return f"{func.__self__.__name__}.{name}"  # type: ignore[attr-defined]
    return name or (resolve_name(func) or "?").rsplit(".", 1)[-1]


def _without_gpu(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool | None]:
    """Arguments with the CPU in place of the GPU, and whether the GPU was named; None if no device was."""
    target: bool | None = False if name == "cpu" else None

    def plain(value: Any) -> Any:
        nonlocal target
        kind = value.type if isinstance(value, torch.device) else value
        if isinstance(kind, str) and kind.split(":")[0] in ("cpu", "cuda"):
            target = kind.startswith("cuda")
            return torch.device("cpu")
        return value

    if name == "to" and args[1:] and isinstance(args[1], Tensor):
        target = is_on_gpu(args[1])
    args = tuple(plain(value) for value in args)
    return args, {key: plain(value) for key, value in kwargs.items()}, target


def _check(name: str, tensors: Sequence[Tensor]) -> None:
    """Scalars may come from anywhere; so may indices, which then travel."""
    if name in ("__getitem__", "__setitem__"):
        tensors = [t for t in tensors if t.dtype not in (torch.int64, torch.bool) or t is tensors[0]]
    sized = [t for t in tensors if t.dim()]
    if len({is_on_gpu(t) for t in sized}) > 1:
        places = ", ".join(f"{tuple(t.shape)} on {'cuda:0' if is_on_gpu(t) else 'cpu'}" for t in sized)
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {places}")
