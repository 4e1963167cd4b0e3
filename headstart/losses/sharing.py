"""How far corresponding weights of several networks are from one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor


def apart(networks: Sequence[Sequence[Tensor]]) -> Tensor:
    """`sum_k ||theta_k - mean||^2 / 2`, the mean being that of the K networks, weight by weight.

    networks  theta_1 to theta_K: the tensors of each, corresponding ones at the same place and of the same shapes

    The same as `sum_{i<j} ||theta_i - theta_j||^2 / (2 K)`. Its gradient with respect to theta_k is `theta_k - mean`,
    whatever K and however many weights there are: it draws to the mean as weight decay of strength one draws to nought.
    Zero, to the bit, for equal networks and for a single one. One node of the graph whatever the number of tensors. In
    float32 also under autocast.
    """
    found: Tensor = _Apart.apply(len(networks), *(tensor for network in networks for tensor in network))
    return found


def distance(networks: Sequence[Sequence[Tensor]]) -> float:
    """`sqrt(sum_k ||theta_k - mean||^2 / sum_k ||theta_k||^2)`, in float64: 0 for equal networks, `sqrt(1 - 1/K)` for K
    that have nothing to do with one another, 1 at most; 0 where all weights are 0."""
    own, whole = 0.0, 0.0
    for tensors in zip(*networks, strict=True):
        moved = torch.stack([tensor.detach().double() for tensor in tensors])
        whole += float(moved.square().sum())
        own += float((moved - moved[0] - (moved - moved[0]).mean(0)).square().sum())
    return (own / whole) ** 0.5 if whole else 0.0


class _Apart(torch.autograd.Function):
    """The gradient falls out of the value, so it is kept instead of what it would be computed from."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Tensor:
        size = len(tensors) // count
        networks = [[tensor.detach() for tensor in tensors[k * size : (k + 1) * size]] for k in range(count)]
        # Distances do not change when all networks move; from the first one's place, equal networks are exact zeros.
        moved = [list(torch._foreach_sub(network, networks[0])) for network in networks]
        mean = [tensor.clone() for tensor in moved[0]]
        for network in moved[1:]:
            torch._foreach_add_(mean, network)
        torch._foreach_div_(mean, float(count))
        away = list(chain.from_iterable(torch._foreach_sub(network, mean) for network in moved))
        ctx.save_for_backward(*away)
        return torch.stack([one.square().sum() for one in away]).sum() / 2

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(list(ctx.saved_tensors), outer[0])
