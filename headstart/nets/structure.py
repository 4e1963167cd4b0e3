"""How modules are put together, as text: what their weights do not tell, for keys of everything that is kept and reused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any

import torch
from torch import fx, nn

_PLAIN = (bool, int, float, complex, str, type(None), torch.dtype, torch.device)
_FUNCTION = (FunctionType, BuiltinFunctionType)
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_KEPT_BY_TORCH = {*vars(nn.Module()), *vars(fx.GraphModule(nn.Module(), fx.Graph()))}
"""Attributes that every module has for its own book-keeping, modes among them."""


def structure(module: nn.Module) -> str:
    """The layers of `module` in order: name, class, what they print of themselves, and their plain attributes.

    Two modules with equal tensors whose structures are equal compute the same, as far as attributes tell that are numbers,
    words, functions, and tuples, lists and dicts of these. Modes (`training`) are left out, and so are addresses.
    """
    return _ADDRESS.sub("", "\n".join(_layers(module)))


def _layers(module: nn.Module) -> Iterator[str]:
    for name, layer in module.named_modules(remove_duplicate=False):
        kind = type(layer)
        own = {key: told for key, value in vars(layer).items() if key not in _KEPT_BY_TORCH and (told := _told(value))}
        code = layer.code if isinstance(layer, fx.GraphModule) else ""
        yield f"{name}: {kind.__module__}.{kind.__qualname__}({layer.extra_repr()}) {sorted(own.items())} {code}"


def _told(value: Any) -> str:
    """A plain value as text; empty for what is none."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, _FUNCTION):
        return _function(value)
    if isinstance(value, (tuple, list)):
        return repr([_told(one) for one in value])
    if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
        return repr({key: _told(one) for key, one in value.items()})
    return ""


def _function(value: Any) -> str:
    """By its name, and what it does where it was written on the spot."""
    code = getattr(value, "__code__", None)
    written = "" if code is None else f"{code.co_code.hex()} {code.co_names} {[c for c in code.co_consts if _told(c)]}"
    return f"{value.__module__}.{value.__qualname__} {written}"
