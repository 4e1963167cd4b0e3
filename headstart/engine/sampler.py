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

    An epoch visits every sample once in a fresh order; its last batch may be smaller. A last batch of one sample joins the
    batch before it, because batch normalisation cannot learn from one.
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

    @property
    def widest(self) -> int:
        """Samples in the largest batch."""
        return (
            min(self.batch_size + 1, self.samples)
            if self.samples % self.batch_size == 1
            else min(self.batch_size, self.samples)
        )

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order in which epoch `epoch` visits the samples."""
        return permutation(self.samples, self.seed, "order", epoch)

    def span(self, step: int) -> slice:
        """The part of the epoch's order that is step `step`'s batch."""
        place = step % self.per_epoch
        last = place + 1 == self.per_epoch
        return slice(place * self.batch_size, self.samples if last else (place + 1) * self.batch_size)


def plan_for(stage: Stage, seed: int) -> Plan:
    """The course of a stage."""
    samples = len(stage.data)
    if not samples:
        raise ConfigError(f"stage {stage.name!r}: its task {stage.data.name!r} has no samples")
    size = min(stage.batch_size, samples)
    per_epoch = max(-(-samples // size) - (samples % size == 1 and samples > size), 1)
    steps = stage.budget.steps if stage.budget.steps is not None else (stage.budget.epochs or 0) * per_epoch
    return Plan(samples, size, seed, steps, per_epoch)
