"""Small settings of every way to pretrain, and a small net and images to try them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headstart.catalog.pretraining import Schooling
from headstart.data.task import UNKNOWN, Task
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.nets.net import Net
from headstart.strategies.pretrain import PRETRAIN
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet

SCHOOL = Schooling(epochs=2, batch_size=8, lr=0.02)
IMAGES = 24


@dataclass(frozen=True)
class Toy:
    """How a method is tried.

    config  small settings
    net     a new small network each time
    size    side of the images
    """

    config: Any
    net: Callable[[], Net] = resnet
    size: int = 12


TOYS: Mapping[str, Toy] = {}
"""Every method with settings small enough to run many times."""


def images(toy: Toy, *, labelled: bool = False) -> Task:
    """A few images; nothing is known about them unless the method learns from labels."""
    task = make_image_task(IMAGES, size=toy.size)
    if not labelled:
        task = Task(task.name, task.store, task.labels * 0 + UNKNOWN, task.classes, task.rows)
    return task


def pretrained(
    name: str, *, seed: int = 0, folder: Path | None = None, log: RunLog | None = None, labelled: bool = False
) -> Net:
    """A net after the method; every number follows from the seed."""
    toy = TOYS[name]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = toy.net()
    drive = Drive(net, seed, Machine(checkpoint_every=0.0), folder, None, log or RunLog(None))
    drive.run(PRETRAIN[name](net, images(toy, labelled=labelled), toy.config))
    return net
