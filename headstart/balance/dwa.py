"""Dynamic weight average: a task whose loss falls slowly counts more in the next epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import descend, values_of

_ZERO = 1e-12
"""A loss below this is nothing to compare with."""


class DynamicWeightAverage(Balance):
    """`w_k = K exp(r_k / T) / sum_i exp(r_i / T)`, `r_k = L_k(t-1) / L_k(t-2)` (Liu et al. 2019, equation 7).

    L_k(t)       mean of the loss of task k over the steps of epoch t in which it is present
    temperature  T; large ones bring the weights together

    Weights add up to the number of tasks K and change once per epoch; in the first two epochs they are 1. A ratio to a
    loss of zero is taken to be 1 (no change). A task that is absent for a whole epoch keeps its ratio, and its next one
    compares with the last epoch it was there; before it was there in two epochs its ratio is 1. Losses that are no tasks
    count once.
    """

    total: Tensor
    count: Tensor
    last: Tensor
    ratio: Tensor
    epoch: Tensor

    def __init__(self, tasks: Sequence[str], temperature: float = 2.0) -> None:
        super().__init__()
        self.tasks, self.temperature = tuple(tasks), temperature
        for name in ("total", "count"):
            self.register_buffer(name, torch.zeros(len(self.tasks), dtype=torch.float64))
        self.register_buffer("last", torch.full((len(self.tasks),), -1.0, dtype=torch.float64))  # negative: never there yet
        self.register_buffer("ratio", torch.ones(len(self.tasks), dtype=torch.float64))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self._per_epoch = 1
        self._known: tuple[int, list[float]] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def begin(self, steps: int, per_epoch: int) -> None:
        self._per_epoch, self._known = per_epoch, None

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        weights = dict(zip(self.tasks, self._weights(step // self._per_epoch), strict=True))
        used = {name: weights.get(name, 1.0) for name in losses}
        descend(losses, used)
        there = [place for place, name in enumerate(self.tasks) if name in losses]
        if there:
            at = torch.tensor(there, device=self.total.device)
            self.total.index_add_(0, at, values_of([losses[self.tasks[place]] for place in there]))
            self.count.index_add_(0, at, torch.ones_like(at, dtype=self.count.dtype))
        return used

    def _weights(self, epoch: int) -> list[float]:
        """Weights in this epoch; what they follow from is looked at once per epoch, because a look waits for the device."""
        if self._known is None or self._known[0] != epoch:
            if epoch != int(self.epoch):
                self._turn(epoch)
            found = torch.ones_like(self.ratio)
            if epoch >= 2:
                found = len(self.tasks) * torch.softmax(self.ratio / self.temperature, 0)
            self._known = epoch, found.tolist()
        return self._known[1]

    def _turn(self, epoch: int) -> None:
        """An epoch is over: its means become what the next is compared with."""
        there = self.count > 0
        mean = self.total / self.count.clamp(min=1)
        fresh = torch.where(self.last > _ZERO, mean / self.last.clamp(min=_ZERO), torch.ones_like(mean))
        self.ratio.copy_(torch.where(there, fresh, self.ratio))
        self.last.copy_(torch.where(there, mean, self.last))
        self.total.zero_()
        self.count.zero_()
        self.epoch.fill_(epoch)


def _forget(balance: Any, _: object) -> None:
    """Weights known from another state are no longer known."""
    balance._known = None
