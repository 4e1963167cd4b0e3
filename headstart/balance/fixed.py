"""A weighted sum with weights that do not change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import descend


class Fixed(Balance):
    """`sum_i w_i L_i`; a term without a weight counts once, and one of weight 0 is as good as absent.

    tasks  which of the losses are tasks: the sum of their weights is logged
    """

    def __init__(self, weights: Mapping[str, float] | None = None, *, tasks: Sequence[str] = ()) -> None:
        super().__init__()
        self.weights = dict(weights or {})
        self.tasks = tuple(tasks)

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        used = {name: self.weights.get(name, 1.0) for name in losses}
        descend(losses, used)
        return used
