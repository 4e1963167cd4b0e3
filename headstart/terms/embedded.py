"""What pretraining terms share that embed several views of an image: pooled features of a block, and how far training is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from headstart.errors import ConfigError
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.terms.base import StepLike, Term


class Timed(Term):
    """A loss that changes with time; `steps` are the optimiser steps of the whole training."""

    def __init__(self, steps: int = 1) -> None:
        super().__init__()
        self.steps, self.done = max(steps, 1), 0

    @property
    def progress(self) -> float:
        """The share of the training that is done, from 0 to 1."""
        return self.done / self.steps

    def after_step(self, step: StepLike) -> None:
        """One step more is done."""
        self.done += 1

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint keeps besides tensors: the steps done."""
        return {"done": self.done}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with the next step."""
        self.done = int(state["done"])


class Embedded(Timed):
    """A loss on pooled features `[B, width]` of one block of `net` in several views.

    block  None: the last
    steps  optimiser steps of the whole training, by which what changes with time is paced

    Raises ConfigError for a block that does not exist or gives several towers.
    """

    def __init__(self, net: Net, *, block: str | None = None, steps: int = 1) -> None:
        super().__init__(steps)
        self.block = net.last if block is None else block
        if self.block not in net.blocks:
            raise ConfigError(f"block {self.block!r} is to be embedded; this network has {net.block_names}")
        info = net.info[self.block]
        if info.towers is not None:
            raise ConfigError(
                f"block {self.block!r} gives {info.towers} towers, and one is embedded; take out one tower first"
            )
        self.reads = (self.block,)
        self.layout, self.width = info.layout, info.channels

    def features(self, step: StepLike, view: str) -> Tensor:
        """`[B, width]` of one view, which passes the network alone: its batch normalisation sees no other."""
        return pool(single(step.taps(view), self.block), self.layout)

    def features_together(self, step: StepLike, views: Sequence[str]) -> list[Tensor]:
        """`[B, width]` of each of several views of one size that pass the network in one batch."""
        every = pool(single(step.together(*views), self.block), self.layout)
        each = len(every) // len(views)
        return [every[place * each : (place + 1) * each] for place in range(len(views))]
