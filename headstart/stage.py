"""The contract: what a strategy yields and the engine carries out.

A `Stage` says what trains, on what, with which losses, and how they are balanced; the loop in `engine/fit.py` fits any
stage. A `Solve` is the other kind: a head found by a deterministic solver on features of frozen blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from headstart.balance.base import Balance
from headstart.balance.fixed import Fixed
from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.data.views import PLAIN, View
from headstart.errors import ConfigError
from headstart.terms.base import Term


@dataclass(frozen=True)
class Train:
    """How the parameters under a name prefix train.

    scale         multiplies the stage's learning rate
    weight_decay  None: the optimiser's own
    mask          None, or a tensor per parameter name: 1 where an element may move, 0 where it must stay
    norm          `train`: normalisation layers use and update batch statistics; `frozen`: statistics stay as they are
    """

    scale: float = 1.0
    weight_decay: float | None = None
    mask: Mapping[str, Tensor] | None = None
    norm: Literal["train", "frozen"] = "train"


@dataclass(frozen=True)
class Adapt:
    """Only the batch-normalisation statistics under this prefix follow the data; no weight moves."""


@dataclass(frozen=True)
class Optimizer:
    """The rule that moves parameters. `schedule` runs from `lr` to zero over the stage's budget; `steps` goes to a tenth
    of it after three quarters.

    kind      `sgd` (Nesterov momentum) or `adamw`
    warmup    share of the budget in which the rate rises linearly
    clip      largest gradient norm, None for no limit
    """

    lr: float = 0.1
    kind: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["cosine", "linear", "constant", "steps"] = "cosine"
    warmup: float = 0.1
    clip: float | None = None


@dataclass(frozen=True)
class Budget:
    """How long a stage trains: whole passes over its data, or optimiser steps (exactly one of them)."""

    epochs: int | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give a budget in epochs or in steps, one of them")


@dataclass(frozen=True)
class Evaluate:
    """Look at the net while it trains, without changing anything (contract 15).

    every    epochs between looks
    fn       takes the net, returns named numbers that go to the log
    monitor  name of a number (higher is better) that may stop the stage early; the best weights are then restored
    patience looks without improvement before stopping
    """

    every: int
    fn: Callable[[Any], Mapping[str, float]]
    monitor: str | None = None
    patience: int = 5


@dataclass(frozen=True)
class Part:
    """A stage that is a part of one longer training, whose epochs are counted through when it is looked at.

    The names of such stages are alike but for the number of the epoch each begins with, counted from 1, at their end.

    before  epochs of that training in earlier stages
    of      epochs of that training in all
    """

    before: int
    of: int


@dataclass(frozen=True)
class Stage:
    """One call of the loop.

    name      unique within a strategy; names its seed streams, log lines and checkpoint
    data      the task whose samples and labels it sees, or a mix of several
    trains    name prefix -> Train, a bare number (the scale), or Adapt. Everything unnamed is frozen
    terms     named losses
    even      batches of an epoch differ by one sample at most; for losses that compare the samples of a batch or take
              statistics over it. Else all have `batch_size` but the last, which may be much smaller
    views     named renderings of the batch; `main` is what heads answer on
    average   decay per step of an exponential moving average of the weights, which replaces them at the end; None for none
    mixup     Beta(mixup, mixup) image mixing (Zhang et al. 2018), 0 for none; makes the prefix uncacheable
    cache     `auto`: cache the frozen prefix where counting says it pays; `on`, `off`
    below     a block of the frozen prefix: what an earlier stage kept of its output, in the same views, is what this stage's
              cache is computed from, and it is removed then. None: the cache is computed from the samples. The bits are the
              same in either case, and where nothing was kept
    carry     keep optimiser state of parameters that trained in the stage before
    part      of a longer training; None: it is a training by itself
    """

    name: str
    data: Task | Mix
    trains: Mapping[str, float | Train | Adapt]
    terms: Mapping[str, Term]
    budget: Budget
    optimizer: Optimizer = Optimizer()
    balance: Balance = field(default_factory=Fixed)
    batch_size: int = 128
    even: bool = False
    views: Mapping[str, View] = field(default_factory=lambda: {"main": PLAIN})
    evaluate: Evaluate | None = None
    average: float | None = None
    mixup: float = 0.0
    cache: Literal["auto", "on", "off"] = "auto"
    below: str | None = None
    carry: bool = False
    part: Part | None = None

    @property
    def task(self) -> Task:
        """`data` of a stage about one task. Raises ConfigError where it is a mix of several."""
        if isinstance(self.data, Mix):
            raise ConfigError(f"stage {self.name!r} is about {len(self.data.tasks)} tasks, and one is needed here")
        return self.data


@dataclass(frozen=True)
class Solve:
    """A head found by a solver on plain, eval-mode features of the blocks it reads.

    reads    sets of blocks to choose from by cross-validation, the head being remade to read the best; none: as it is
    solver   `logistic` (L-BFGS), `svm` (linear, one against the rest, calibrated), `ridge`, `nearest_mean`
    penalty  strength(s) to choose from by cross-validation on the task's data; one value is used as it is
    folds    of that cross-validation and of the SVM's calibration
    """

    name: str
    task: Task
    head: str
    reads: tuple[tuple[str, ...], ...] = ()
    solver: Literal["logistic", "svm", "ridge", "nearest_mean"] = "logistic"
    penalty: tuple[float, ...] = ()
    folds: int = 5
    class_weights: tuple[float, ...] | None = None
