"""Which samples a step sees: a function of (seed, step), so that resuming needs no more than the step's number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.mix import Mix, chunks
from headstart.errors import ConfigError
from headstart.seeding import permutation
from headstart.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The whole course of a stage in steps.

    An epoch visits every sample once in a fresh order; its last batch may be smaller. A single sample left over takes one
    from the batch before it, because batch normalisation cannot learn from one. A mix is drawn as it says (`data/mix.py`).
    """

    samples: int
    batch_size: int
    seed: int
    steps: int
    per_epoch: int
    mix: Mix | None = None

    def epoch(self, step: int) -> int:
        return step // self.per_epoch

    def ends_epoch(self, step: int) -> bool:
        return (step + 1) % self.per_epoch == 0 or step + 1 == self.steps

    @property
    def epochs(self) -> int:
        return -(-self.steps // self.per_epoch)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order in which epoch `epoch` visits the samples, as positions in the data's own order."""
        return np.concatenate(self.batches(epoch))

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The epoch's batches; step `s` is number `s % per_epoch` of epoch `epoch(s)`."""
        if self.mix is not None:
            return self.mix.batches(self.batch_size, self.seed, epoch)
        return chunks(permutation(self.samples, self.seed, "order", epoch), self.batch_size)


def plan_for(stage: Stage, seed: int) -> Plan:
    """The course of a stage."""
    samples = len(stage.data)
    if not samples:
        raise ConfigError(f"stage {stage.name!r}: its task {stage.data.name!r} has no samples")
    size = min(stage.batch_size, samples)
    mix = stage.data if isinstance(stage.data, Mix) else None
    per_epoch = -(-samples // size) if mix is None else len(mix.batches(size, seed, 0))
    steps = stage.budget.steps if stage.budget.steps is not None else (stage.budget.epochs or 0) * per_epoch
    return Plan(samples, size, seed, steps, per_epoch, mix)
