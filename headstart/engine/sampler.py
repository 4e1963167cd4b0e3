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

    An epoch visits every sample once in a fresh order; its last batch may be smaller, but is never of one sample (`chunks`).
    A mix is drawn as it says (`data/mix.py`).

    even  as many batches, but of sizes that differ by one at most (`even_sizes`); `batch_size` is then the largest
    """

    samples: int
    batch_size: int
    seed: int
    steps: int
    per_epoch: int
    mix: Mix | None = None
    even: bool = False

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
        order = permutation(self.samples, self.seed, "order", epoch)
        return np.array_split(order, self.per_epoch) if self.even else chunks(order, self.batch_size)


def even_sizes(samples: int, batch_size: int) -> list[int]:
    """Sizes of the batches of an epoch that differ by one at most: as many as batches of `batch_size` would be, but two
    samples in each at least, which among an odd number in pairs makes one of three."""
    count = max(1, min(-(-samples // batch_size), samples // 2))
    each, over = divmod(samples, count)
    return [each + 1] * over + [each] * (count - over)


def plan_for(stage: Stage, seed: int) -> Plan:
    """The course of a stage."""
    samples = len(stage.data)
    if not samples:
        raise ConfigError(f"stage {stage.name!r}: its task {stage.data.name!r} has no samples")
    size = min(stage.batch_size, samples)
    mix = stage.data if isinstance(stage.data, Mix) else None
    if stage.even and mix is not None:
        raise ConfigError(f"stage {stage.name!r}: even batches are of one task; a mix is drawn as its sampling says")
    per_epoch = len(chunks(np.arange(samples), size) if mix is None else mix.batches(size, seed, 0))
    if stage.even:
        sizes = even_sizes(samples, size)
        size, per_epoch = max(sizes), len(sizes)
    steps = stage.budget.steps if stage.budget.steps is not None else (stage.budget.epochs or 0) * per_epoch
    return Plan(samples, size, seed, steps, per_epoch, mix, stage.even)
