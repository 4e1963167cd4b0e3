"""Which samples a step sees: a function of (seed, step), so that resuming needs no more than the step's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ConfigError
from headstart.seeding import permutation
from headstart.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The whole course of a stage in steps.

    An epoch visits every sample once in a fresh order; its last batch may be smaller. A single sample left over takes one
    from the batch before it, because batch normalisation cannot learn from one.
    """

    samples: int
    batch_size: int
    seed: int
    steps: int
    per_epoch: int

    def epoch(self, step: int) -> int:
        return step // self.per_epoch

    def ends_epoch(self, step: int) -> bool:
        return (step + 1) % self.per_epoch == 0 or step + 1 == self.steps

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.per_epoch)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order in which epoch `epoch` visits the samples."""
        return permutation(self.samples, self.seed, "order", epoch)

    def span(self, step: int) -> slice:
        """The part of the epoch's order that is step `step`'s batch."""
        place = step % self.per_epoch
        low, high = (self._edge(edge) for edge in (place, place + 1))
        return slice(low, high)

    def _edge(self, number: int) -> int:
        edge = min(number * self.batch_size, self.samples)
        lonely = self.samples % self.batch_size == 1 and self.batch_size > 2
        return edge - 1 if lonely and number == self.per_epoch - 1 and number else edge


def plan_for(stage: Stage, seed: int) -> Plan:
    """The course of a stage."""
    samples = len(stage.data)
    if not samples:
        raise ConfigError(f"stage {stage.name!r}: its task {stage.data.name!r} has no samples")
    size = min(stage.batch_size, samples)
    per_epoch = -(-samples // size)
    steps = stage.budget.steps if stage.budget.steps is not None else (stage.budget.epochs or 0) * per_epoch
    return Plan(samples, size, seed, steps, per_epoch)
