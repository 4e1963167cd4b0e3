"""Multi-task learning: one network answers several questions about the same image, or about images of several data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import nn

from headstart.balance.base import Balance
from headstart.balance.named import balance_for
from headstart.balance.watched import Watched
from headstart.catalog.sharing import SharingConfig
from headstart.catalog.weightings import weighting
from headstart.data.mix import Mix
from headstart.data.task import Task
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.nets.parallel import units_of
from headstart.stage import Adapt, Budget, Optimizer, Stage, Train
from headstart.strategies.common import layerwise, stitched, view_of, weighted_blocks
from headstart.terms.base import Term
from headstart.terms.pull import Pull, overshoots
from headstart.terms.questions import MultiLabel, Regression
from headstart.terms.supervised import Supervised

_PULL = "pull"
_NUMBERS = 0.1
"""Rate of a number's head relative to the others'. The curvature of a squared error in the outputs is 2, that of a
cross-entropy p (1 - p), a quarter at most: at the rate that suits one, the other ends in no number at all."""

_UNITS = 0.1
"""Highest rate of cross-stitch units. A hundred to a thousand times the network's is what the paper says of networks that
are fine-tuned at 0.001 or less; at a hundred times 0.1 no mixture lasts a step."""


def multitask(net: Net, mix: Mix, cfg: SharingConfig | None = None) -> Iterator[Stage]:
    """Train a head per task and everything below them, by a weighted sum of the tasks' losses.

    What is shared is how `net` was built: one backbone for all heads (hard sharing), or towers (`nets/towers.py`) that are
    pulled towards each other (soft sharing, `cfg.pull`) or mixed by cross-stitch units. Each task's loss is a mean over the
    samples whose label is known; a task without any in a batch takes no part in that step. Cross-entropy for classes and
    yes/no, binary cross-entropy for several yes/no at once, squared error in standard deviations for numbers.
    """
    cfg = cfg or SharingConfig()
    faults = [*cfg.faults(), *pull_faults(cfg, tuple(mix.tasks))]
    problems(ConfigError, "these tasks cannot be trained together as asked:", faults)
    for task in mix.tasks.values():
        add_head(net, task, mix)
    terms: dict[str, Term] = {name: loss_of(net, task, cfg) for name, task in mix.tasks.items()}
    if cfg.pull:
        terms[_PULL] = Pull(net, cfg.pull)
    balance = balance_of(net, mix, cfg)
    recipe = cfg.recipe
    yield Stage(
        "multitask",
        mix,
        trains=trains(net, mix, balance, cfg),
        terms=terms,
        budget=Budget(steps=cfg.steps) if cfg.steps is not None else Budget(epochs=recipe.epochs),
        optimizer=Optimizer(
            lr=recipe.lr, kind=recipe.optimizer, weight_decay=recipe.weight_decay, warmup=recipe.warmup, clip=recipe.clip
        ),
        balance=balance,
        batch_size=recipe.batch_size,
        views={"main": view_of(net, recipe)},
        average=recipe.average,
        mixup=recipe.mixup,
    )


def pull_faults(cfg: SharingConfig, tasks: Sequence[str]) -> list[str]:
    """What cannot be about the pull between towers, in words: a task of its name, a strength that drives them apart."""
    if not cfg.pull:
        return []
    recipe = cfg.recipe
    rate = recipe.lr * cfg.scale
    most = overshoots(rate, Optimizer().momentum) if recipe.optimizer == "sgd" and rate > 0 else float("inf")
    rules = [
        (
            _PULL not in tasks,
            f"a task is called {_PULL!r}, as the pull between towers is; call it otherwise",
        ),
        (
            not most <= cfg.pull,
            f"pull {cfg.pull:g}: at a rate of {rate:g} for the towers every step would take them further past their mean; "
            f"it must be below {most:.3g}",
        ),
    ]
    return [text for holds, text in rules if not holds]


def add_head(net: Net, task: Task, mix: Mix) -> None:
    """An empty head for `task`; of a number, with the unit of the labels it learns from."""
    head = net.add_head(task.name, task.outputs, kind=task.kind)
    if task.kind == "number":
        head.learn_unit(torch.from_numpy(mix.labels[task.name][mix.rows]))


def loss_of(net: Net, task: Task, cfg: SharingConfig) -> Term:
    """The loss that goes with the kind of question."""
    if task.kind == "several":
        return MultiLabel(task.name, smoothing=cfg.recipe.smoothing)
    if task.kind == "number":
        return Regression(net, task.name, delta=cfg.delta)
    return Supervised(task.name, smoothing=cfg.recipe.smoothing)


def balance_of(net: Net, mix: Mix, cfg: SharingConfig) -> Balance:
    """The weighting asked for; with `watch`, gradients are compared once per epoch where there are several tasks."""
    names = tuple(mix.tasks)
    kinds = {name: task.kind for name, task in mix.tasks.items()}
    balance = balance_for(cfg.weighting, cfg.weighting_settings, names, kinds, last_shared(net))
    return Watched(balance, names) if cfg.watch and len(names) > 1 else balance


def trains(net: Net, mix: Mix, balance: Balance, cfg: SharingConfig) -> Mapping[str, float | Train | Adapt]:
    """All blocks at the lower rate, heads at the full one, units and a weighting's own parameters at theirs."""
    chosen: dict[str, float | Train | Adapt] = dict(layerwise(net, cfg.scale, 1.0))
    chosen |= stitched(net, min(cfg.scale * cfg.stitch_scale, _UNITS / cfg.recipe.lr))
    chosen |= {f"heads.{name}": _NUMBERS if task.kind == "number" else 1.0 for name, task in mix.tasks.items()}
    if any(True for _ in balance.parameters()):
        own = cfg.weighting_settings or weighting(cfg.weighting).config
        chosen["balance"] = Train(own.scale, weight_decay=0.0)
    return chosen


def last_shared(net: Net) -> list[nn.Parameter]:
    """Weights of the last block that all tasks share; where they share none, of the last one of every tower."""
    names = [name for name in weighted_blocks(net) if name not in units_of(net)]
    shared = [name for name in names if net.info[name].towers is None]
    return list(net.blocks[(shared or names)[-1]].parameters())
