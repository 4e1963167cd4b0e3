"""Weights that follow a schedule the user wrote."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import descend
from headstart.catalog.schedules import WeightPlan


class Schedule(Balance):
    """`sum_i w_i(t) L_i` with w_i as the plan says; other losses count once.

    Weights are a function of the step's number, so nothing has to survive a resume. They are used as written, unless the
    plan scales them to add up to the number of its tasks (`normalise`); the scaling counts tasks that are absent from a
    step too, so that a task's weight does not hang on what else is in the batch. A loss of weight 0 is as good as absent:
    what it alone reaches does not move, not even by weight decay.
    """

    def __init__(self, plan: WeightPlan) -> None:
        super().__init__()
        self.plan, self.tasks = plan, plan.tasks
        self._length = (0, 1)
        self._kept: tuple[int, dict[str, float]] | None = None

    def begin(self, steps: int, per_epoch: int) -> None:
        """Raises ConfigError naming everything in the plan that goes wrong in a stage of this length."""
        self.plan.check(steps, per_epoch)
        self._length, self._kept = (steps, per_epoch), None

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        weights = self._at(step)
        used = {name: weights.get(name, 1.0) for name in losses}
        descend(losses, used)
        return used

    def _at(self, step: int) -> dict[str, float]:
        steps, per_epoch = self._length
        key = step if self.plan.moves else step // per_epoch
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self.plan.at(step, steps, per_epoch)
        return self._kept[1]
