"""How far weights are from where they were, each difference counted by its importance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def quadratic(
    values: Sequence[Tensor], anchors: Sequence[Tensor] | None = None, importances: Sequence[Tensor] | None = None
) -> Tensor:
    """`1/2 sum_i F_i (theta_i - theta*_i)^2` over all elements of all tensors; its gradient is `F_i (theta_i - theta*_i)`.

    values       theta, of any shapes; gradients go to these alone
    anchors      theta*, one of the same shape for each; None: all zero (an L2 penalty)
    importances  F >= 0, one of the same shape for each; None: all one

    One node of the graph whatever the number of tensors, and one copy of the weights besides them. In float32 also under
    autocast.
    """
    found: Tensor = _Quadratic.apply(len(values), *values, *(anchors or ()), *(importances or ()), anchors is not None)
    return found


def pull(
    values: Sequence[Tensor], anchors: Sequence[Tensor] | None = None, importances: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """The gradient of `quadratic`: `F_i (theta_i - theta*_i)`, new tensors without gradient."""
    with torch.no_grad():
        held = [value.detach() for value in values]
        moved = torch._foreach_sub(held, list(anchors)) if anchors is not None else [value.clone() for value in held]
        if importances is not None:
            torch._foreach_mul_(moved, list(importances))
        return list(moved)


class _Quadratic(torch.autograd.Function):
    """The gradient falls out of the value, so it is kept instead of what it would be computed from."""

    @staticmethod
    def forward(ctx: Any, count: int, *given: Any) -> Tensor:
        values, rest, anchored = given[:count], given[count:-1], given[-1]
        moved = pull(values, rest[:count] if anchored else None)
        importances = rest[count * anchored :]
        gradient = torch._foreach_mul(moved, list(importances)) if importances else moved
        ctx.save_for_backward(*gradient)
        ctx.rest = len(rest) + 1
        parts = [(one * other).sum() for one, other in zip(gradient, moved, strict=True)]
        return 0.5 * torch.stack(parts).sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        found = torch._foreach_mul(list(ctx.saved_tensors), outer[0])
        return None, *found, *[None] * ctx.rest
