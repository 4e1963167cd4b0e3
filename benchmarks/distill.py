"""Distillation with the teacher's answers kept: what an epoch costs beside the same epoch without a teacher.

Both go through `fit`, on the same fixed renderings in the same batches; the one reads the teacher's answers, adds the soft
loss and blends two gradients. The answers are there before the clock starts, as they are from the second time on that a
rendering is shown. And how much longer the same epoch takes where the teacher answers live instead, with the largest
difference between the weights either way leads to.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.fine_tune import CLASSES, distance, pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, ratio
from headstart.catalog.strategies import DistillConfig, Recipe
from headstart.data.task import Task
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.distill import distill
from headstart.terms.teacher import Live

KINDS = {"alone": {"share": 0.0}, "kept": {"record": True}, "live": {"record": False}}


def _teacher(name: str) -> Live:
    net = build(name, pretrained=False, seed=1)
    head = net.add_head("theirs", CLASSES)
    with torch.no_grad():
        draw = np.random.default_rng(0).normal(0, 0.1, tuple(head.linear.weight.shape))
        head.linear.weight.copy_(torch.from_numpy(draw))
    return Live(net, "theirs")


def _stages(start: Net, task: Task, teacher: Live, batch: int) -> Iterator[tuple[str, Stage]]:
    """The one stage of every kind; asking for it records the answers."""
    recipe = Recipe(epochs=1, batch_size=batch, lr=0.01, views=4, warmup=0.0)
    for kind, settings in KINDS.items():
        net = copy.deepcopy(start)
        yield kind, next(distill(net, task, DistillConfig(recipe, **settings), teachers=[teacher]))


def _compare(student: str, teacher: str, batch: int, steps: int, pairs: int) -> list[Row]:
    task = pictures(steps * batch, 32)
    start = build(student, pretrained=False)
    start.add_head("task", CLASSES)
    stages = dict(_stages(start, task, _teacher(teacher), batch))
    nets: dict[str, Net] = {}

    def ready(kind: str) -> None:
        nets[kind] = copy.deepcopy(start)

    parts = {kind: (lambda kind=kind: fit(nets[kind], stages[kind])) for kind in KINDS}  # type: ignore[misc]
    taken = in_turn(parts, pairs, ready=ready)
    assert distance(nets["kept"], nets["alone"]) > 0, "the teacher taught nothing"
    names = f"{teacher.split(':')[1]} -> {student.split(':')[1]} at 32 px, batches of {batch}"
    return [
        row(f"{names}: epoch with kept answers / without a teacher", ratio(taken["kept"], taken["alone"]), limit=1.15),
        row(f"{names}: epoch with a live teacher / without a teacher", ratio(taken["live"], taken["alone"])),
        Row(f"{names}: largest difference of weights, kept and live answers", distance(nets["kept"], nets["live"]), unit=""),
    ]


def measure(*, quick: bool) -> list[Row]:
    """A small student, where the work beside its arithmetic shows most, and a larger pair."""
    keep_freed_memory()
    pairs, steps = (5, 6) if quick else (15, 24)
    return [
        *_compare("headstart:resnet8", "headstart:resnet20", 64, steps, pairs),
        *_compare("headstart:resnet20", "headstart:resnet56", 64, max(steps // 3, 4), pairs),
    ]
