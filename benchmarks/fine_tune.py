"""Full fine-tuning: `engine.fit` against the shortest PyTorch loop that does the same arithmetic.

The loop below has the same batches, the same augmentation, memory format, fused SGD, rates and weight decays, and nothing
else: no frozen-state check, no log, no look at whether losses are finite. Both start from the same weights and do the same
number of steps, everything from the first line of `fit` to its last included, and must end with the same weights to
rounding.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, ratio
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.data.views import normalise, standard_view
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.engine.inputs import view_seed
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import generator, permutation, seed_for
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.supervised import Supervised

CLASSES = 10


def pictures(count: int, size: int) -> Task:
    """A task over random pixels: for times, what they show does not matter."""
    draw = generator(0, "benchmark", "pictures")
    pixels = draw.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return task_of("task", store_of(pixels), np.arange(count) % CLASSES, tuple("abcdefghij"))


def stage_for(task: Task, size: int, batch: int) -> Stage:
    """One epoch of everything."""
    return Stage(
        "all",
        task,
        trains={"blocks": 1.0, "heads.task": 1.0},
        terms={"supervised": Supervised("task")},
        budget=Budget(epochs=1),
        optimizer=Optimizer(lr=0.01, warmup=0.0),
        batch_size=batch,
        views={"main": standard_view(size)},
    )


def by_hand(net: Net, stage: Stage, seed: int = 0) -> None:
    """The minimal loop."""
    task, rule, view = stage.data, stage.optimizer, stage.views["main"]
    stage_seed = seed_for(seed, "stage", stage.name)
    draws = view_seed(view, seed, stage_seed, "main")
    order = permutation(len(task), stage_seed, "order", 0)
    images, labels = torch.from_numpy(task.store.array), torch.from_numpy(task.targets)
    # the head the library had keeps existing in the net, and takes no part
    trained = [*net.blocks.parameters(), *net.head("task").parameters()]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": rule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum, nesterov=True, fused=True)
    net.to(memory_format=torch.channels_last)
    net.train()
    rows = torch.from_numpy(order).split(stage.batch_size)
    for step, chosen in enumerate(rows):
        for group in optimizer.param_groups:
            group["lr"] = rule.lr * 0.5 * (1 + math.cos(math.pi * step / len(rows)))
        x = view.render(images[chosen], chosen, seed=draws, draw=0)
        loss = nn.functional.cross_entropy(net(normalise(x, net.input.mean, net.input.std), "task"), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _compare(name: str, size: int, batch: int, steps: int, pairs: int) -> list[Row]:
    task = pictures(steps * batch, size)
    stage = stage_for(task, size, batch)
    start = build(name, pretrained=False, size=size)
    start.heads.clear()
    start.add_head("task", CLASSES)
    nets: dict[str, Net] = {}

    def ready(kind: str) -> None:
        nets[kind] = copy.deepcopy(start)

    parts = {"engine": lambda: fit(nets["engine"], stage), "hand": lambda: by_hand(nets["hand"], stage)}
    taken = in_turn(parts, pairs, ready=ready)
    assert distance(nets["engine"], start) > 0, "nothing was trained"
    label = f"{name.split(':')[1]} at {size} px, batches of {batch}"
    return [
        row(f"{label}: engine / hand-written loop", ratio(taken["engine"], taken["hand"]), limit=1.05),
        Row(f"{label}: largest difference between their weights", distance(nets["engine"], nets["hand"]), unit=""),
    ]


def distance(one: Net, other: Net) -> float:
    """Largest difference of any weight, relative to the largest weight of its tensor."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max() / b.detach().abs().max().clamp_min(1e-12)) for a, b in pairs)


def measure(*, quick: bool) -> list[Row]:
    """Small pictures in a small net, where the engine's own work shows most, and a larger net."""
    keep_freed_memory()  # `fit` does so itself; the loop by hand runs in the same process and gains by it too
    pairs, steps = (5, 6) if quick else (21, 24)
    return [
        *_compare("headstart:cifar_resnet20", 32, 128, steps, pairs),
        *_compare("timm:resnet18", 64, 64, max(steps // 3, 4), pairs),
    ]
