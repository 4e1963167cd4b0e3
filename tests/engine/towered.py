"""A small network of towers, two tasks for it, and a stage on both, for tests in one process and in two."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from headstart.data.mix import Mix
from headstart.data.task import UNKNOWN, task_of
from headstart.engine.checkpoint import save_state
from headstart.engine.fit import Machine, fit
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.towers import towers
from headstart.stage import Budget, Optimizer, Stage
from headstart.strategies.common import stitched
from headstart.terms.pull import Pull
from headstart.terms.supervised import Supervised
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet, state

TASKS = ("which", "first")


def both_tasks(kind: str) -> Mix:
    """35 samples asked of which of three classes they are, and a part of them whether it is the first."""
    one = make_image_task(35, size=12) if kind == "images" else make_vector_task(35)
    is_first = np.where(np.arange(35) % 4, (one.labels == 0).astype(np.int64), UNKNOWN)
    tasks = {
        "which": task_of("which", one.store, one.labels, one.classes),
        "first": task_of("first", one.store, is_first, ("no", "yes")),
    }
    return Mix("both", tasks, (one.rows,))


def tower_net(kind: str, stitch: bool = False, shared: int = 1) -> Net:
    """One block is shared; the towers differ, and so do the heads."""
    plain = resnet() if kind == "images" else perceptron()
    units = {"layer2_0", plain.last} & set(plain.block_names) if stitch else set()
    net = towers(plain, TASKS, shared=shared, stitch=sorted(units))
    with torch.no_grad(), forked(8):
        for one in net.blocks[plain.block_names[shared]].parameters():
            one.add_(0.02 * torch.randn_like(one))
        for number, task in enumerate(TASKS):
            nn.init.normal_(net.add_head(task, 3 - number).linear.weight, std=0.1)
    return net


def tower_stage(net: Net, data: Mix, **more: Any) -> Stage:
    """Two epochs on everything, the towers pulled together a little, or what the test says instead."""
    terms = {name: Supervised(name) for name in data.tasks}
    settings: dict[str, Any] = {
        "trains": {"blocks": 1.0, "heads": 1.0, **stitched(net, 10.0)},
        "terms": {**terms, "pull": Pull(net, 1.0)},
        "budget": Budget(epochs=2),
        "optimizer": Optimizer(lr=0.03),
        "batch_size": 16,
    }
    return Stage("towers", data, **(settings | more))


def carry_out(folder: Path) -> dict[str, Mapping[str, Tensor]]:
    """Images and vectors, with units and without."""
    found = {}
    for kind in ("images", "vectors"):
        for stitch in (False, True):
            net = tower_net(kind, stitch)
            fit(net, tower_stage(net, both_tasks(kind), budget=Budget(steps=3)), machine=Machine(cache=folder / "cache"))
            found[f"{kind} {stitch}"] = state(net)
    return found


def process(rank: int, folder: Path) -> None:
    """What each of two processes does; what it has at the end goes to a file of its own."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        found = carry_out(folder)
    finally:
        distributed.destroy_process_group()
    save_state(folder / f"{rank}.safetensors", found)
