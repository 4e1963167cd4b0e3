"""A network with a tower per task learns one more: the new task gets a tower too, a copy of the one that suits it best."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine.evaluate import batch_for, looking
from headstart.engine.step import present
from headstart.nets.net import Net
from headstart.nets.towers import add_tower
from headstart.transferability.logme import logme

_IMAGES = 1000
"""Training images that towers are judged by, at most."""


def with_towers(net: Net, tasks: Sequence[Task]) -> tuple[Net, list[str]]:
    """A copy with a tower for each new task, and what is to be told of it; the network itself where it has no towers.

    tasks  with the samples that they are to be learned from

    A new tower begins as a copy of the one, among those there were, whose features tell the new classes apart best: the
    highest LogME (You et al. 2021) of the last block's, pooled. Old answers stay the same to the bit.
    """
    if net.towers is None:
        return net, []
    owners, grown = net.towers.tasks, copy.deepcopy(net)
    told = []
    for task in tasks:
        scores = [logme(features, labels, task.num_classes).score for features, labels in _seen(net, task)]
        best = int(np.argmax(scores))
        add_tower(grown, task.name, best)
        listed = ", ".join(f"{name} {score:.3f}" for name, score in zip(owners, scores, strict=True))
        told.append(
            f"{task.name}: a tower of its own, which begins as a copy of that of {owners[best]}; LogME of its images in "
            f"each: {listed}"
        )
    return grown, told


def _seen(net: Net, task: Task) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Of every tower its features `[N, D]` of (some of) the task's samples, with their labels."""
    places = np.unique(np.linspace(0, len(task) - 1, min(len(task), _IMAGES)).astype(np.int64))
    rows, labels, width = task.rows[places], task.targets[places], batch_for(net.input, net.device.type)
    assert net.towers is not None
    found: list[list[NDArray[np.float32]]] = [[] for _ in net.towers.tasks]
    with looking(net):
        for at in range(0, len(rows), width):
            x = present(task.store.gather(rows[at : at + width]).to(net.device), net.input)
            last = net.run(x)[net.last]
            for number, parts in enumerate(found):
                parts.append(net.pooled(net.last, last, number).float().cpu().numpy())
    for parts in found:
        yield np.concatenate(parts), labels
