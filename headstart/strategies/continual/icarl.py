"""Incremental classifier and representation learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.catalog.rehearsal import IcarlConfig
from headstart.data.join import with_unlabelled
from headstart.data.memory import Memory
from headstart.data.selection import mean_direction
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine import distributed
from headstart.engine.answering import ALL
from headstart.engine.past import Past
from headstart.engine.run import memo, under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import settle
from headstart.strategies.continual.memories import after_task, check_room, features_of, heads_of, with_old
from headstart.strategies.continual.sigmoids import all_classes, learning, recipe_faults

_NEVER = -1e30


def icarl(net: Net, task: Task, cfg: IcarlConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Sigmoid outputs learn new classes from labels and old ones from the old network, over new data and exemplars together.

    Rebuffi et al. 2017. One memory of `capacity` exemplars, the same share for each class, herded with the features of the
    net when its class was new and cut from the end. Answers are those of the nearest mean of exemplars: the head
    `all_classes`, made anew after every task with the features of the net as it is then. The sigmoid heads stay, to learn
    from at the next task. Where the capacity does not divide, the first classes have one exemplar more (in the paper the
    rest stays unused). The authors also average features over mirrored exemplars; here they are plain.
    """
    cfg = cfg or IcarlConfig()
    memory = _checked(net, task, cfg, past)
    place = settle("icarl", net, task, past, cfg.learn)
    listed, past.memory = all_classes(past, task), memory
    if past.memory is not None and len(past.memory):
        listed = _with_exemplars(net, listed, past.memory, heads_of(net, place, past).listed)
    yield learning("icarl", net, listed, cfg.learn, place)
    if listed.store.file is not None and listed.store.file != task.store.file:
        listed.store.file.unlink(missing_ok=True)  # all samples once more
    past.memory = after_task("herding", net, task, past, cfg.capacity)
    _answer_by_means(net, task, past, past.memory)
    past.one_list = ALL


def _checked(net: Net, task: Task, cfg: IcarlConfig, past: Past) -> Memory | None:
    """Exemplars of the tasks before, from old data where there are none. Raises ConfigError before anything changes."""
    classes = len(past.classes) + len(task.classes)
    check_room("icarl", task, past, capacity=cfg.capacity, max_bytes=cfg.max_bytes, least=classes)
    faults = recipe_faults(cfg.learn.recipe)
    memory = with_old("herding", net, past, cfg.capacity) if past.scenario == "class" else past.memory
    held = set() if memory is None else set(memory.tasks.tolist())
    without = [one.name for number, one in enumerate(past.tasks) if number not in held]
    if without and past.scenario == "class":
        faults.append(
            f"there are no exemplars of {', '.join(without)}, whose classes could never be answered; give the data of all "
            "earlier tasks once (--old), or let a method with a memory learn the first task too"
        )
    if task.name == ALL:
        faults.append(f"the task is called {ALL!r}, as the head that answers all classes is; give it another name")
    problems(ConfigError, "icarl cannot be done as asked:", faults)
    return memory


def _with_exemplars(net: Net, listed: Task, memory: Memory, labels: Callable[..., NDArray[np.int64]]) -> Task:
    """New data and exemplars as one task over all classes; put together in a file where the new data are in one."""
    classes = labels(memory.labels, memory.tasks)
    folder = under_way(net).folder if listed.store.file is not None else None
    exemplars = task_of(listed.name, store_of(memory.samples), classes, listed.classes)
    if folder is None:
        both = with_unlabelled(listed, exemplars)
    else:
        both = distributed.first(lambda: with_unlabelled(listed, exemplars, folder))
    known = both.labels.copy()
    known[len(listed.store) :] = classes
    return replace(both, labels=known)


def _answer_by_means(net: Net, task: Task, past: Past, memory: Memory) -> None:
    """Make the head that finds the nearest mean of exemplars, in the order of all classes.

    The mean mu of a class has length 1, and so has the feature z / |z|: of ||z / |z| - mu||^2 = 2 - 2 mu . z / |z| the
    smallest is the largest mu . z, whatever |z|: a linear head without bias.
    """
    first = np.concatenate([[0], np.cumsum([len(one.classes) for one in past.tasks])]).astype(np.int64)
    labels = memory.labels + first[memory.tasks]
    count = len(past.classes) + len(task.classes)

    def compute() -> dict[str, Tensor]:
        features = features_of(net, store_of(memory.samples), np.arange(len(memory)))
        return {"means": torch.from_numpy(class_means(features, labels, count))}

    means = memo(f"means-{task.name}", compute)["means"]
    past.spend("class means", forward=len(memory))
    linear = net.add_head(ALL, count, net.last).linear
    with torch.no_grad():
        linear.weight.copy_(means)
        # A class without a single sample has no mean, and is never the answer.
        linear.bias.copy_(torch.where(means.any(1), 0.0, _NEVER))


def class_means(features: NDArray[np.float32], labels: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """`[count, D]` means of normalised features, normalised again; zero for a class without samples."""
    means = np.zeros((count, features.shape[1]), np.float32)
    for name in np.unique(labels):
        means[name] = mean_direction(features[labels == name])
    return means
