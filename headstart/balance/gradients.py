"""What balances do with losses and gradients: weigh, differentiate, sum over processes, multiply with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist

Gradient = Sequence[Tensor | None]
"""One tensor per parameter, None for a parameter that the loss does not reach."""


def processes() -> int:
    """How many processes hold a share of each loss."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def descend(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
    """Add the gradient of `sum_i w_i L_i` to `.grad`; nothing happens without a loss.

    A loss of weight 0 is as good as absent: what it alone reaches has no gradient, rather than one of zeros, and no
    optimiser moves it by momentum or weight decay.
    """
    counted = {name: loss for name, loss in losses.items() if weights[name]}
    weighed = [loss if weights[name] == 1.0 else loss * weights[name] for name, loss in counted.items()]
    if not weighed:
        return
    total = weighed[0] if len(weighed) == 1 else torch.stack(weighed).sum()
    total.backward()  # type: ignore[no-untyped-call]


def gradient_of(loss: Tensor, parameters: Sequence[nn.Parameter], *, keep: bool = False) -> list[Tensor | None]:
    """Gradient of a loss, all None where nothing that trains answers for it. keep: other losses may share its graph."""
    if not loss.requires_grad or not parameters:
        return [None] * len(parameters)
    return list(torch.autograd.grad(loss, list(parameters), retain_graph=keep, allow_unused=True))


def summed(rows: Sequence[Gradient]) -> list[list[Tensor | None]]:
    """Gradients summed over processes, in one message; alone, as they are. Every process reaches the same parameters."""
    there = [one for row in rows for one in row if one is not None]
    if processes() == 1 or not there:
        return [list(row) for row in rows]
    flat = torch.cat([one.reshape(-1).float() for one in there])
    dist.all_reduce(flat)
    parts = iter(torch.split(flat, [one.numel() for one in there]))
    return [[None if one is None else next(parts).view_as(one) for one in row] for row in rows]


def values_of(losses: Sequence[Tensor]) -> Tensor:
    """`[K]` float64: the losses themselves, shares of all processes summed. Waits for no device."""
    found = torch.stack([loss.detach().double() for loss in losses])
    if processes() > 1:
        dist.all_reduce(found)
    return found


def products(rows: Sequence[Gradient]) -> Tensor:
    """`[K, K]` float64: the scalar product of every two gradients, over all parameters together.

    Parameter by parameter, so that no second copy of all gradients is held in float64.
    """
    device = next((one.device for row in rows for one in row if one is not None), None)
    found = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=device)
    for column in zip(*rows, strict=True):
        flat = [one.reshape(-1).double() for one in column if one is not None]
        if len(flat) == len(rows):
            block = torch.stack(flat)
            found += block @ block.T
        elif flat:
            block = torch.stack(flat)
            at = torch.tensor([place for place, one in enumerate(column) if one is not None], device=device)
            found[at[:, None], at[None, :]] += block @ block.T
    return found


def combined(rows: Sequence[Gradient], weights: Sequence[float]) -> list[Tensor | None]:
    """`sum_i w_i g_i`, parameter by parameter; None where none of them reaches."""
    found: list[Tensor | None] = []
    for column in zip(*rows, strict=True):
        total: Tensor | None = None
        for one, weight in zip(column, weights, strict=True):
            if one is not None:
                part = one if weight == 1.0 else weight * one
                total = part if total is None else total + part
        found.append(total)
    return found


def add_to(parameters: Sequence[nn.Parameter], gradient: Gradient) -> None:
    """Add a gradient to `.grad`, laid out in memory as the parameter is: fused optimisers take the two side by side."""
    for parameter, g in zip(parameters, gradient, strict=True):
        if g is None:
            continue
        if g.stride() != parameter.stride():
            g = torch.empty_like(parameter, memory_format=torch.preserve_format).detach().copy_(g)
        parameter.grad = g if parameter.grad is None else parameter.grad + g
