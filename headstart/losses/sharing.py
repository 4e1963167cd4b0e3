"""How far corresponding weights of several networks are from one another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor


def apart(networks: Sequence[Sequence[Tensor]]) -> Tensor:
    """`sum_{i<j} ||theta_i - theta_j||^2`, divided by the number of weights of one network.

    networks  theta_1 to theta_K: the tensors of each, corresponding ones at the same place and of the same shapes

    Its gradient with respect to theta_i is `2 (K theta_i - sum_j theta_j)` over that number. Zero, to the bit, for equal
    networks and for a single one. One node of the graph whatever the number of tensors. In float32 also under autocast.
    """
    found: Tensor = _Apart.apply(len(networks), *(tensor for network in networks for tensor in network))
    return found


class _Apart(torch.autograd.Function):
    """The gradient falls out of the value, so it is kept instead of what it would be computed from."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Tensor:
        size = len(tensors) // count
        networks = [[tensor.detach() for tensor in tensors[k * size : (k + 1) * size]] for k in range(count)]
        # Distances do not change when all networks move; from the first one's place, equal networks are exact zeros.
        moved = [list(torch._foreach_sub(network, networks[0])) for network in networks]
        total = [tensor.clone() for tensor in moved[0]]
        for network in moved[1:]:
            torch._foreach_add_(total, network)
        # Half the gradient: sum_j (d_i - d_j) = K d_i - sum_j d_j; and sum_i <d_i, that> is the sum over pairs.
        pulls = [list(torch._foreach_sub(torch._foreach_mul(network, float(count)), total)) for network in moved]
        pull = list(chain.from_iterable(pulls))
        each = [(one * other).sum() for one, other in zip(chain.from_iterable(moved), pull, strict=True)]
        weights = sum(tensor.numel() for tensor in networks[0])
        ctx.save_for_backward(*pull)
        ctx.scale = 2.0 / weights
        return torch.stack(each).sum() / weights

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(list(ctx.saved_tensors), outer[0] * ctx.scale)
