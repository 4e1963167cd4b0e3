"""How much tasks agree about the weights they share, measured while another balance does its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import gradient_of, products, summed


class Watched(Balance):
    """Does what `inner` does, to the bit, and measures the tasks' gradients by the shared blocks now and then.

    tasks  names of the losses compared
    every  measure at every so many steps; None: at the first step of each epoch

    Measured are the losses as they are, before they are weighed: the norm of each task's gradient by all parameters of the
    group `shared` together, and the cosine of every two. Means over the epoch's measurements in which the tasks were present
    are in `report()`, as `norm/A` and `cosine/A/B`; an epoch without one reports none. A cosine with a gradient of zero is
    left out. A measurement costs a backward pass per task.
    """

    total: Tensor
    count: Tensor
    epoch: Tensor

    def __init__(self, inner: Balance, tasks: Sequence[str], every: int | None = None) -> None:
        super().__init__()
        if every is not None and every < 1:
            raise ValueError(f"every={every} must be a positive number of steps, or None for once per epoch")
        self.inner, self.watches, self.every = inner, tuple(tasks), every
        self.tasks = inner.tasks
        self._pairs = list(combinations(range(len(self.watches)), 2))
        size = len(self.watches) + len(self._pairs)
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self._per_epoch = 1
        self._turned: int | None = None

    def begin(self, steps: int, per_epoch: int) -> None:
        self._per_epoch, self._turned = per_epoch, None
        self.inner.begin(steps, per_epoch)

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        self._turn(step // self._per_epoch)
        if step % (self.every or self._per_epoch) == 0:
            self._measure(losses, groups)
        return self.inner.backward(losses, groups, step)

    def report(self) -> dict[str, float]:
        total, count = self.total.tolist(), self.count.tolist()
        names = [f"norm/{name}" for name in self.watches]
        names += [f"cosine/{self.watches[i]}/{self.watches[j]}" for i, j in self._pairs]
        means = {name: part / times for name, part, times in zip(names, total, count, strict=True) if times}
        return {**self.inner.report(), **means}

    def _turn(self, epoch: int) -> None:
        """Forget the epoch before. The number of the epoch is looked at once, because a look waits for the device."""
        if self._turned == epoch:
            return
        if int(self.epoch) != epoch:
            self.total.zero_()
            self.count.zero_()
            self.epoch.fill_(epoch)
        self._turned = epoch

    def _measure(self, losses: Mapping[str, Tensor], groups: Groups) -> None:
        there = [place for place, name in enumerate(self.watches) if name in losses]
        shared = list(groups.get("shared", ()))
        if not there or not shared:
            return
        rows = [gradient_of(losses[self.watches[place]], shared, keep=True) for place in there]
        found = products(summed(rows)).to(self.total.device)
        norms = found.diagonal().sqrt()
        at = {place: number for number, place in enumerate(there)}
        self.total[there] += norms
        self.count[there] += 1
        for number, (i, j) in enumerate(self._pairs, len(self.watches)):
            if i in at and j in at:
                length = norms[at[i]] * norms[at[j]]
                seen = (length > 0).double()
                self.total[number] += found[at[i], at[j]] / torch.where(length > 0, length, torch.ones_like(length)) * seen
                self.count[number] += seen
