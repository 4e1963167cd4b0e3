"""Losses with known gradients, and one process or two, for tests of balances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Rows = Mapping[str, Sequence[float]]


def parameter(size: int, value: float = 0.0) -> nn.Parameter:
    return nn.Parameter(torch.full((size,), value, dtype=torch.float64))


def linear(w: nn.Parameter, rows: Rows, values: Mapping[str, float] | None = None) -> dict[str, Tensor]:
    """A loss per row, whose gradient by `w` is the row and whose value is as given (or what it happens to be)."""
    found = {}
    for name, row in rows.items():
        loss = (torch.tensor(row, dtype=torch.float64) * w).sum()
        found[name] = loss if values is None else loss - loss.detach() + values[name]
    return found
