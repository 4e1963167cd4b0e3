"""The exact Fisher information of every weight, sample by sample, against one image at a time.

Both take the same C - 1 directions per image and square single images' gradients. One at a time is measured on a few hundred
images and scaled to as many as the other passes. Then what a step costs that holds all weights by it.

    python -m benchmarks importance
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.fine_tune import CLASSES, pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.engine.importance import factor, fisher
from headstart.engine.step import present
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.seeding import generator
from headstart.stage import Budget, Stage
from headstart.terms.base import Term
from headstart.terms.penalty import Penalty
from headstart.terms.supervised import Supervised


def vectors(count: int) -> Task:
    """As many of 784 numbers, of ten classes."""
    rng = generator(0, "benchmark", "importance")
    labels = tuple(f"c{number}" for number in range(10))
    return task_of("task", store_of(rng.random((count, 784), np.float32)), np.arange(count) % 10, labels)


def with_head(net: Net) -> Net:
    """The same net with a head that answers something."""
    head = net.add_head("task", CLASSES)
    with forked(0):
        torch.nn.init.normal_(head.linear.weight, std=0.1)
    return net


def one_at_a_time(net: Net, task: Task) -> dict[str, Tensor]:
    """The same by autograd alone."""
    net.eval()
    named = dict(net.named_parameters())
    dtype = next(iter(named.values())).dtype
    total = {name: torch.zeros_like(parameter) for name, parameter in named.items()}
    for place in range(len(task)):
        logits = net(present(task.store.gather(task.rows[place : place + 1]), net.input).to(dtype), "task")
        ways = factor(logits.detach())
        for number in range(ways.shape[2]):
            more = number + 1 < ways.shape[2]
            found = torch.autograd.grad(logits, list(named.values()), ways[:, :, number], retain_graph=more)
            for name, gradient in zip(named, found, strict=True):
                total[name].addcmul_(gradient, gradient)
    return {name: value / len(task) for name, value in total.items()}


@dataclass(frozen=True)
class Case:
    """A network on `count` images, of which one at a time takes `few`."""

    name: str
    net: Net
    task: Task
    few: int
    promise: float | None = None

    def rows(self, rounds: int) -> list[Row]:
        """How many times faster, how long, and how far apart."""
        some = self.task.take(np.arange(self.few))
        parts: dict[str, Callable[[], object]] = {
            "ours": lambda: fisher(self.net, self.task, "task"),
            "single": lambda: one_at_a_time(self.net, some),
        }
        taken = in_turn(parts, rounds)
        share = len(self.task) / self.few
        scaled = [share * spent for spent in taken["single"]]
        what = f"{self.name}: one image at a time ({self.few}, scaled) / ours"
        more: dict[str, Any] = {} if self.promise is None else {"limit": self.promise, "at_least": True}
        return [
            row(what, ratio(scaled, taken["ours"]), **more),
            row(f"{self.name}: {len(self.task)} images", median_of(taken["ours"]), unit="s"),
            Row(f"{self.name}: largest difference, as a share of the norm", self.apart(torch.float32), unit=""),
            Row(f"{self.name}: the same in double precision", self.apart(torch.float64), unit="", limit=1e-6),
        ]

    def apart(self, dtype: torch.dtype) -> float:
        """The largest difference between the two on 32 images, computed in `dtype`."""
        net, some = copy.deepcopy(self.net).to(dtype), self.task.take(np.arange(min(self.few, 32)))
        ours, theirs = fisher(net, some, "task"), one_at_a_time(net, some)
        return max(float((ours[name] - theirs[name]).norm() / theirs[name].norm()) for name in theirs)


def _step(rounds: int, steps: int) -> Row:
    """An epoch with all weights held, against the same without."""
    task, start = pictures(steps * 64, 32), with_head(build("headstart:resnet20", pretrained=False))
    held = fisher(start, task, "task", samples=32)
    nets: dict[str, Net] = {}
    stages: dict[str, Stage] = {}

    def ready(kind: str) -> None:
        net = nets[kind] = copy.deepcopy(start)
        terms: dict[str, Term] = {"new": Supervised("task")}
        if kind == "held":
            live = dict(net.named_parameters())
            terms["old"] = Penalty(live, 1.0, anchors={name: one.detach() for name, one in live.items()}, importances=held)
        what = {"blocks": 1.0, "heads": 1.0}
        stages[kind] = Stage(kind, task, trains=what, terms=terms, budget=Budget(epochs=1), batch_size=64)

    parts = {kind: (lambda kind=kind: fit(nets[kind], stages[kind])) for kind in ("plain", "held")}  # type: ignore[misc]
    taken = in_turn(parts, rounds, ready=ready)
    what = "cifar_resnet20 at 32 px, batches of 64: epoch with all weights held (any number of tasks) / without"
    return row(what, ratio(taken["held"], taken["plain"]))


def measure(*, quick: bool) -> list[Row]:
    """A perceptron, for which there is a promise, and a convolutional network, for which there is a number."""
    keep_freed_memory()
    count, few, rounds = (500, 20, 2) if quick else (10_000, 300, 3)
    with forked(0):
        perceptron = with_head(mlp(784, (400, 400)))
    network = with_head(build("headstart:resnet20", pretrained=False))
    pictured = pictures(count // 50, 32)
    return [
        *Case("MLP 784-400-400-10", perceptron, vectors(count), few, 10.0).rows(rounds),
        *Case("ResNet-20 at 32 px", network, pictured, max(few // 15, 5)).rows(rounds),
        _step(rounds, 4),
    ]
