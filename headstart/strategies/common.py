"""What several strategies share: turning a recipe into a stage, and naming the blocks that have weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from headstart.catalog.strategies import Recipe
from headstart.data.splits import split_off
from headstart.data.task import Task
from headstart.data.views import PLAIN, View, standard_view
from headstart.engine.evaluate import accuracy
from headstart.engine.run import under_way
from headstart.errors import ConfigError, DataError
from headstart.nets.net import Net, count_parameters
from headstart.nets.norms import folded_away
from headstart.nets.parallel import units_of
from headstart.seeding import seed_for
from headstart.stage import Adapt, Budget, Evaluate, Optimizer, Stage, Train
from headstart.terms.supervised import Supervised


def weighted_blocks(net: Net) -> list[str]:
    """Names of the blocks that have parameters, in order."""
    return [name for name, block in net.blocks.items() if count_parameters(block)]


def top_blocks(net: Net, count: int) -> list[str]:
    """The last `count` blocks that have parameters."""
    names = weighted_blocks(net)
    if not 1 <= count <= len(names):
        raise ConfigError(f"top={count}: this network has {len(names)} blocks with weights, so choose 1 to {len(names)}")
    return names[-count:]


def layerwise(net: Net, scale: float, decay: float) -> dict[str, float]:
    """A rate per block: `scale` for the top one, times `decay` for each one below it."""
    names = weighted_blocks(net)
    return {f"blocks.{name}": scale * decay ** (len(names) - 1 - place) for place, name in enumerate(names)}


def stitched(net: Net, scale: float = 100.0) -> dict[str, Train]:
    """Entries of `Stage.trains` for every cross-stitch unit: `scale` times the rate, and no weight decay.

    Misra et al. 2016 train units at 100 to 1000 times the rate of the network; 1 trains them as slowly as it.
    """
    return {f"blocks.{name}": Train(scale, weight_decay=0.0) for name in units_of(net)}


def class_weights(task: Task) -> tuple[float, ...]:
    """Inverse class sizes, scaled to a mean of one over the samples; zero for a class without samples."""
    counts = task.counts.astype(np.float64)
    inverse = np.divide(counts.sum() / max((counts > 0).sum(), 1), counts, out=np.zeros_like(counts), where=counts > 0)
    return tuple(float(value) for value in inverse)


def view_of(net: Net, recipe: Recipe) -> View:
    """The augmented view a recipe trains on; plain for vectors or when augmentation is off."""
    if not recipe.augment or net.input.kind != "image":
        return PLAIN
    return standard_view(net.input.size, mirror=recipe.mirror, draws=recipe.views)


def supervised_stage(
    name: str,
    net: Net,
    task: Task,
    trains: Mapping[str, float | Train | Adapt],
    recipe: Recipe,
    *,
    epochs: int | None = None,
    carry: bool = False,
) -> Stage:
    """A stage that trains the head called like the task, and whatever else `trains` names, by a recipe.

    Batch normalisation that was folded away stays as it is, see `nets/norms.py`. Where early stopping is asked for and
    nothing can be held out, the stage trains to its end, and the log says so.
    """
    task, held_out = watched_apart(task, recipe)
    if recipe.patience is not None and held_out is None:
        tell_unwatched(name, net, task)
    weights = class_weights(task) if recipe.class_weights else None
    return Stage(
        name,
        task,
        trains={name: _kept(net, name, rule) for name, rule in trains.items()},
        terms={"supervised": Supervised(task.name, smoothing=recipe.smoothing, class_weights=weights)},
        budget=Budget(epochs=recipe.epochs if epochs is None else epochs),
        optimizer=Optimizer(
            lr=recipe.lr,
            kind=recipe.optimizer,
            weight_decay=recipe.weight_decay,
            warmup=recipe.warmup,
            clip=recipe.clip,
        ),
        batch_size=recipe.batch_size,
        views={"main": view_of(net, recipe)},
        evaluate=None if held_out is None else early_stopping(held_out, recipe.patience or 0),
        average=recipe.average,
        mixup=recipe.mixup,
        carry=carry,
    )


def _kept(net: Net, name: str, rule: float | Train | Adapt) -> float | Train | Adapt:
    """The same rule; for a block whose batch normalisation was folded away one that leaves its statistics alone."""
    kind, _, block = name.partition(".")
    if kind != "blocks" or block not in net.blocks or isinstance(rule, Adapt) or not folded_away(net.blocks[block]):
        return rule
    return replace(rule, norm="frozen") if isinstance(rule, Train) else Train(rule, norm="frozen")


def learned_part(task: Task, recipe: Recipe) -> Task:
    """What `supervised_stage` learns from: all of the task, or with early stopping what is not held out for it."""
    return watched_apart(task, recipe)[0]


def watched_apart(task: Task, recipe: Recipe) -> tuple[Task, Task | None]:
    """What is learned from and what early stopping watches; None without early stopping, or where nothing can be spared."""
    if recipe.patience is None:
        return task, None
    try:
        return hold_out(task, seed_for(recipe.seed, "early-stopping"))
    except DataError:
        return task, None


def tell_unwatched(name: str, net: Net, task: Task) -> None:
    """Say that early stopping was asked for in vain."""
    text = (
        f"stage {name!r}: no class of {task.name!r} has three samples or groups, two to learn from and one to watch; "
        "without early stopping it trains to its end"
    )
    under_way(net).log.event("warning", text=text)


def hold_out(task: Task, seed: int) -> tuple[Task, Task]:
    """Nine tenths to learn from and a tenth to watch, by class and group.

    Two samples or groups of a class stay to learn from, for a head that is chosen by folds. Raises `DataError` when nothing
    can be taken.
    """
    groups = None if task.groups is None else task.groups[task.rows]
    rest, taken = split_off(task.targets, groups, 0.1, seed, keep=2)
    return task.take(rest), task.take(taken)


def early_stopping(held_out: Task, patience: int, head: str | None = None) -> Evaluate:
    """Look at the held-out accuracy of a head (none: the task's) after every epoch; keep the best weights; stop when it no
    longer rises."""

    def look(net: Net) -> dict[str, float]:
        return {"valid_accuracy": accuracy(net, held_out, head)}

    return Evaluate(every=1, fn=look, monitor="valid_accuracy", patience=patience)
