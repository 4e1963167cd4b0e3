"""Weights that make tasks with slow losses pull harder on the last shared weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import descend, gradient_of, products, summed, values_of
from headstart.errors import ConfigError

_ZERO = 1e-12
"""A loss below this is nothing to compare with."""


class GradNorm(Balance):
    """One descent step per training step on `sum_i |G_i - mean(G) r_i^alpha|` (Chen et al. 2018, equation 2, algorithm 1).

    tasks   names of the losses weighed; others count once
    shared  weights of the last shared block, W
    alpha   how hard a task that lags behind is pulled back; 0 only makes all gradients equally long
    rate    of the descent on w, plain and constant, apart from the network's own
    floor   what a weight is set to when the step takes it lower, before all are scaled to their sum

    G_i is the norm of the gradient of w_i L_i by W, r_i = l_i / mean(l) with l_i = L_i / L_i(0), and L_i(0) the loss of the
    first step in which task i is present (and its loss not zero). The target mean(G) r_i^alpha is taken as constant, so that
    dw_i = rate * sign(G_i - target_i) * |dL_i/dW|. A step uses the weights that steps before it left; they add up to
    the number of tasks. A task that is absent from a step keeps its weight and takes no part in means, and those that are
    present keep their sum. The network never sees the gradient of this objective.

    W is the network's, not a part of the balance: it is not in its state, and does not train by being named here.
    """

    weight: Tensor
    first: Tensor

    def __init__(
        self,
        tasks: Sequence[str],
        shared: Iterable[nn.Parameter],
        *,
        alpha: float = 1.5,
        rate: float = 0.025,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        self.tasks, self.alpha, self.rate, self.floor = tuple(tasks), alpha, rate, floor
        self._shared = tuple(shared)  # a tuple: its elements do not become parameters of this module
        self.register_buffer("weight", torch.ones(len(self.tasks), dtype=torch.float64))
        self.register_buffer("first", torch.zeros(len(self.tasks), dtype=torch.float64))  # zero: not seen yet

    def begin(self, steps: int, per_epoch: int) -> None:
        """Raises ConfigError when nothing of the last shared block trains."""
        if not any(parameter.requires_grad for parameter in self._shared):
            raise ConfigError(
                "gradnorm measures gradients on the last shared block, but none of its weights train; "
                "train that block, or choose another weighting"
            )

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        known = dict(zip(self.tasks, self.weight.tolist(), strict=True))
        used = {name: known.get(name, 1.0) for name in losses}
        there = [place for place, name in enumerate(self.tasks) if name in losses]
        held = [parameter for parameter in self._shared if parameter.requires_grad]
        present = [losses[self.tasks[place]] for place in there]
        rows = [gradient_of(loss, held, keep=True) for loss in present]
        descend(losses, used)
        if there:
            norms = products(summed(rows)).diagonal().sqrt().to(self.weight.device)
            self._learn(torch.tensor(there, device=self.weight.device), values_of(present), norms)
        return used

    def _learn(self, at: Tensor, losses: Tensor, norms: Tensor) -> None:
        """One step on the weights of the tasks at `at` `[P]` from their losses and gradient norms `[P]`."""
        first = self.first[at]
        first = torch.where(first > _ZERO, first, losses)
        self.first[at] = first
        share = torch.where(first > _ZERO, losses / first.clamp(min=_ZERO), torch.ones_like(losses))
        ratio = share / share.mean().clamp(min=_ZERO)
        weight = self.weight[at]
        length = weight * norms
        target = length.mean() * ratio**self.alpha
        moved = weight - self.rate * torch.sign(length - target) * norms
        moved = moved.clamp(min=self.floor)
        self.weight[at] = moved * (weight.sum() / moved.sum())
