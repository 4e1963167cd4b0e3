"""Losses are computed in float32 at least, also where autocast computes everything else in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """`x` in float32, or as it is when it is float64."""
    return x if x.dtype == torch.float64 else x.float()


def exact(x: Tensor) -> torch.autocast:
    """Within `with exact(x):` autocast is off on the device of `x`: it would round the inputs of matrix products."""
    return torch.autocast(x.device.type, enabled=False)
