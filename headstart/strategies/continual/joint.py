"""Joint training on the data of all tasks: what the others are measured against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from headstart.catalog.continual import JointConfig
from headstart.data.task import Task
from headstart.data.union import united
from headstart.engine import distributed
from headstart.engine.evaluate import answers
from headstart.engine.past import Past
from headstart.engine.run import under_way
from headstart.errors import ConfigError, problems
from headstart.losses.incremental import within_head
from headstart.nets.net import Net
from headstart.stage import Evaluate, Stage
from headstart.strategies.common import class_weights, tell_unwatched, watched_apart
from headstart.strategies.continual.common import Place, new_loss, settle, stage, trains
from headstart.terms.base import Term
from headstart.terms.listed import SideBySide


def joint(net: Net, task: Task, cfg: JointConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Train shared blocks and all heads on the new and all old data together, from the old weights: the upper bound.

    Multi-task training (Caruana 1997). Every image comes once per epoch, so that a task counts as much as it has images
    (proportional sampling) and an epoch is longer by the old images than one of a method without them. A head per task:
    each image trains the softmax of its own task's head; where all classes make one list, the softmax is over all; where
    tasks share one head they are one bigger task.

    As in Li & Hoiem 2016 the new head may be warmed up first on the new task alone, from which fine-tuning starts too.
    """
    cfg = cfg or JointConfig()
    faults = [*cfg.faults(past.scenario), *_old_faults(past)]
    problems(ConfigError, "joint cannot be done as asked:", faults)
    place = settle("joint", net, task, past, cfg.learn)
    if cfg.warmup_epochs and place.head not in past.heads:
        alone = trains(net, place, replace(cfg.learn, scale=0.0))
        terms = {"new": new_loss(task, place, cfg.learn)}
        yield stage("warm_up", net, task, cfg.learn, alone, terms, epochs=cfg.warmup_epochs)
    every = _together(net, task, place, past)
    what = trains(net, place, cfg.learn, old_heads=True)
    unwatched = replace(cfg.learn, recipe=replace(cfg.learn.recipe, patience=None))
    made = stage("joint", net, every, unwatched, what, _losses(net, every, place, cfg, past))
    yield made if cfg.learn.recipe.patience is None else _watched(made, net, place, cfg, past)


def _old_faults(past: Past) -> list[str]:
    """Old data that are not those learned from."""
    return [
        f"the old data {given.name!r} have classes {given.classes}, task {known.name!r} was learned with {known.classes}"
        for given, known in zip(past.old, past.tasks, strict=False)
        if tuple(given.classes) != known.classes
    ]


def _together(net: Net, task: Task, place: Place, past: Past) -> Task:
    """All tasks' samples as one task called like the new one; labels count over the heads, the new one's last."""
    tasks = [*past.old[: len(past.tasks)], task]
    if past.scenario == "domain":
        return united(tasks, task.name, task.classes, [0] * len(tasks), _folder(net))
    sizes = [one.num_classes for one in tasks]
    firsts = [sum(sizes[:number]) for number in range(len(sizes))]
    return united(tasks, task.name, [*past.classes, *task.classes], firsts, _folder(net))


def _folder(net: Net) -> Path | None:
    """Where samples of several stores are put together, if they are."""
    drive = under_way(net)
    # Several processes would write the one file at once; then each holds its own samples in memory.
    return None if drive.folder is None or distributed.world_size() > 1 else drive.folder / "joint"


def _losses(net: Net, every: Task, place: Place, cfg: JointConfig, past: Past) -> Mapping[str, Term]:
    if past.scenario == "domain":
        return {"all": new_loss(every, place, cfg.learn)}
    heads = (*place.old, place.head)
    return {
        "all": SideBySide(
            every.name,
            heads,
            [net.head(name).num_classes for name in heads],
            per_head=past.scenario == "task",
            smoothing=cfg.learn.recipe.smoothing,
            class_weights=class_weights(every) if cfg.learn.recipe.class_weights else None,
        )
    }


def _watched(made: Stage, net: Net, place: Place, cfg: JointConfig, past: Past) -> Stage:
    """The stage on nine tenths of the samples, stopped by the accuracy on the last, each asked of its own head; as it is
    where none can be spared."""
    kept, held_out = watched_apart(made.task, cfg.learn.recipe)
    if held_out is None:
        tell_unwatched(made.name, net, made.task)
        return made
    heads = (place.head,) if past.scenario == "domain" else (*place.old, place.head)
    sizes = [net.head(name).num_classes for name in heads]

    def look(looked: Net) -> dict[str, float]:
        return {"valid_accuracy": accuracy_of(looked, held_out, heads, sizes, per_head=past.scenario == "task")}

    watch = Evaluate(every=1, fn=look, monitor="valid_accuracy", patience=cfg.learn.recipe.patience or 0)
    return replace(made, data=kept, evaluate=watch)


def accuracy_of(net: Net, every: Task, heads: Sequence[str], sizes: Sequence[int], *, per_head: bool) -> float:
    """Share answered rightly of samples whose labels count over `heads`; each by its own head, or by all in one list."""
    logits = np.concatenate([answers(net, every, name) for name in heads], 1)
    if per_head:
        own = within_head(torch.from_numpy(every.targets), sizes).numpy()
        logits = np.where(own, logits, -np.inf)
    return float((logits.argmax(1) == every.targets).mean())
