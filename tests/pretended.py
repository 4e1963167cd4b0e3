"""A CUDA device that there is not, so that what must stand on one device can be seen to do so without one.

Its tensors say that they are on `cuda:0` and compute on the CPU. As on a real device, an operation on tensors of both is an
error (but for single numbers, copies, and indices on the CPU), and none becomes an array or goes into a file without being
fetched first. Numbers are the CPU's to the bit: what a device computes otherwise, and mixed precision, are not seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # looks through torch.cuda when it is first loaded, which must be before anything is exchanged there
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as tree
from torch.utils._python_dispatch import TorchDispatchMode

from headstart.engine.fit import Machine

DEVICE = torch.device("cuda", 0)
aten = torch.ops.aten
_COPIES = {aten.copy_.default, aten._to_copy.default}
_INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor on the device; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Elsewhere = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), dtype=held.dtype, layout=held.layout, device="cpu"
        )
        made.held = held
        return made

    # With these two, modules exchange their parameters for those on the device and keep their identity.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: object) -> Elsewhere:
        return Elsewhere(inner["held"])

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return DEVICE

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        fetched: Tensor = _Fetched.apply(self)
        return fetched

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype)
        copy = kwargs.pop("copy", False)
        device, dtype, _, memory = torch._C._nn._parse_to(*args, **kwargs)
        changed: Tensor = self
        if copy or memory is not None or dtype not in (None, self.dtype):
            changed = super().to(dtype=dtype or self.dtype, memory_format=memory or torch.preserve_format, copy=copy)
        return changed.cpu() if device is not None and device.type == "cpu" else changed

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def untyped_storage(self) -> Any:
        raise TypeError("what is on a device has no memory here to be written to a file")

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def tolist(self) -> Any:
        return self.held.tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        made: Tensor = Elsewhere(self.held.detach().clone())
        made = nn.Parameter(made, self.requires_grad) if isinstance(self, nn.Parameter) else made
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


class _Fetched(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, there: Elsewhere) -> Tensor:  # type: ignore[override]
        return there.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return Elsewhere(gradient)


def _carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the CPU; its results are on the device if its tensors are, or if it was told so."""
    flat, spec = tree.tree_flatten((args, kwargs))
    there = [one for one in flat if isinstance(one, Elsewhere)]
    if there and func not in _COPIES:
        _check(func, args, flat)
    told = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda"
    given, named = tree.tree_unflatten([one.held if isinstance(one, Elsewhere) else one for one in flat], spec)
    found = func(*given, **({**named, "device": torch.device("cpu")} if told else named))
    if not (isinstance(args[0], Elsewhere) if func is aten.copy_.default else told or there):
        return found
    known = {id(one.held): one for one in there}  # what was changed in place is the tensor that it was

    def placed(one: Any) -> Any:
        if not isinstance(one, Tensor) or isinstance(one, Elsewhere):
            return one
        return known[id(one)] if id(one) in known else Elsewhere(one)

    return tree.tree_map(placed, found)


def _check(func: Any, args: Any, flat: list[Any]) -> None:
    here = [one for one in flat if isinstance(one, Tensor) and not isinstance(one, Elsewhere) and one.ndim]
    if func in _INDEXING and isinstance(args[0], Elsewhere):
        here = [one for one in here if not any(one is index for index in args[1])]
    elif func in _INDEXING:
        here = [args[0]]
    if here:
        shapes = ", ".join(str(list(one.shape)) for one in here)
        raise RuntimeError(f"{func}: expected all tensors to be on the same device; on the CPU is what has shape {shapes}")


class _Everywhere(TorchDispatchMode):
    """Also operations without a tensor of the device: those that make or move one there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


@contextmanager
def pretended() -> Iterator[None]:
    """Within, there is one CUDA device, and a `Machine` that says nothing else computes on it."""
    fork_rng, plain = torch.random.fork_rng, F.one_hot
    swap = torch.__future__.set_swap_module_params_on_conversion
    none, one = (lambda *_: None), (lambda *_: 1)
    cuda: dict[str, Callable[..., Any]] = {
        "_lazy_init": none,
        "is_available": lambda: True,
        "is_bf16_supported": lambda *_: True,
        "device_count": one,
        "get_device_name": lambda *_: "pretended",
        "device": lambda *_: nullcontext(),
        "set_device": none,
        "manual_seed": none,
        "synchronize": none,
        "reset_peak_memory_stats": none,
        "memory_allocated": one,
        "max_memory_allocated": one,
    }

    def one_hot(labels: Tensor, *classes: int) -> Tensor:
        return Elsewhere(plain(labels.held, *classes)) if isinstance(labels, Elsewhere) else plain(labels, *classes)

    def forked(*_: Any, **__: Any) -> Any:
        return fork_rng([])

    def placed(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def made(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
            found = make(*args, **kwargs)
            return found if device is None else found.to(device)

        return made

    defaults = (str(DEVICE), *Machine.__init__.__defaults__[1:])  # type: ignore[index]
    with ExitStack() as stack:
        for name, value in cuda.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch.random, "fork_rng", forked))
        # written in C++, and asks a tensor there on which device to make what it compares with
        stack.enter_context(mock.patch.object(F, "one_hot", one_hot))
        for make in ("tensor", "as_tensor"):
            stack.enter_context(mock.patch.object(torch, make, placed(getattr(torch, make))))
        # what is moved from there to the CPU becomes a tensor of another class
        stack.callback(swap, torch.__future__.get_swap_module_params_on_conversion())
        swap(True)
        stack.enter_context(mock.patch.object(Machine.__init__, "__defaults__", defaults))
        stack.enter_context(_Everywhere())
        yield
