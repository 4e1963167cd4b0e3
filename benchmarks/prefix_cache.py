"""Training on a cached prefix: against the suffix alone on activations held in memory, and against no cache.

The engine trains the last stage (or last block) of ResNet-18 with a head, its frozen prefix cached on disk. A loop written
by hand trains the same suffix on the same activations, in the same batches, from a tensor in memory. The loop's epoch runs
each time the engine has finished one of its own, so both meet the same machine. Building the cache is not in an epoch; it is
one pass of the prefix, and shown apart.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.fine_tune import CLASSES, distance, pictures
from benchmarks.table import Row, row
from benchmarks.timing import median_of, ratio, seconds
from headstart.data.task import Task
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.evaluate import accuracy
from headstart.engine.fit import Machine, fit
from headstart.engine.inputs import decide
from headstart.engine.log import RunLog
from headstart.engine.prefix_cache import Prefix
from headstart.engine.sampler import plan_for
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.supervised import Supervised

BATCH = 32
PARTS = {"last stage": ["layer4_0", "layer4_1"], "last block": ["layer4_1"], "head only": []}


def stage_for(task: Task, blocks: list[str], epochs: int, *, cache: bool) -> Stage:
    """The head and these blocks on plain images."""
    return Stage(
        "suffix",
        task,
        trains={**{f"blocks.{name}": 1.0 for name in blocks}, "heads.task": 1.0},
        terms={"supervised": Supervised("task")},
        budget=Budget(epochs=epochs),
        optimizer=Optimizer(lr=0.01, schedule="constant", warmup=0.0),
        batch_size=BATCH,
        cache="on" if cache else "off",
    )


@dataclass
class Epochs:
    """Listens to a fit: seconds of every epoch; after each, `between` is called and does not count.

    The first epoch also pays for preparing the stage (and the cache): `values[0]`, left out of `rest`.
    """

    between: Callable[[], object] = lambda: None
    values: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "epoch":
            self.values.append(time.perf_counter() - self.began)
            self.between()
            self.began = time.perf_counter()

    @property
    def rest(self) -> list[float]:
        return self.values[1:]


class Resident:
    """The suffix trained by hand: activations of the whole task in one tensor, and the shortest loop there is."""

    def __init__(self, net: Net, stage: Stage, prefix: Prefix) -> None:
        self.net, self.stage, self.epoch = net, stage, 0
        self.plan = plan_for(stage, seed_for(0, "stage", stage.name))
        self.start, names = prefix.end, net.between(prefix.end, None)
        self.x = _activations(prefix, stage.data)
        self.y = torch.from_numpy(stage.data.targets)
        net.requires_grad_(False)
        self.trained = [p for part in (*(net.blocks[n] for n in names), net.head("task")) for p in part.parameters()]
        for module in (*(net.blocks[name] for name in names), net.head("task")):
            module.train().requires_grad_(True)
        rule = stage.optimizer
        groups = [{"params": [p for p in self.trained if p.ndim > 1], "weight_decay": rule.weight_decay}]
        groups.append({"params": [p for p in self.trained if p.ndim <= 1], "weight_decay": 0.0})
        self.optimizer = torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum, nesterov=True, fused=True)

    def __call__(self) -> None:
        """One epoch."""
        order = torch.from_numpy(self.plan.order(self.epoch))
        self.epoch += 1
        for rows in order.split(BATCH):
            x = self.net.run(self.x[rows], start=self.start)[self.net.last]
            loss = nn.functional.cross_entropy(self.net.head("task")({self.net.last: x}), self.y[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def _activations(prefix: Prefix, task: Task) -> Tensor:
    """`[N, ...]`, maps with channels last, as the suffix wants them."""
    parts = [prefix(task.store.gather(rows)) for rows in _batches(task)]
    x = torch.cat(parts)
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _batches(task: Task) -> list[Any]:
    return [task.rows[start : start + BATCH] for start in range(0, len(task), BATCH)]


def _compare(start: Net, task: Task, part: str, pairs: int) -> list[Row]:
    blocks = PARTS[part]
    nets = {kind: copy.deepcopy(start) for kind in ("cached", "resident", "uncached")}
    prefix = Prefix(nets["resident"], blocks[0] if blocks else None, BATCH)
    stage = stage_for(task, blocks, pairs + 1, cache=True)
    hand = Resident(nets["resident"], stage, prefix)
    alone: list[float] = []
    cached, uncached = Epochs(lambda: alone.append(seconds(hand))), Epochs()
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
        machine = Machine(cache=Path(folder))
        worth = decide(start, stage, stage.views["main"], prefix, plan_for(stage, 0), machine)
        fit(nets["cached"], stage, machine=machine, log=RunLog(None, (cached,)))
        slow = stage_for(task, blocks, 4, cache=False)
        uncached.began = time.perf_counter()
        fit(nets["uncached"], slow, machine=machine, log=RunLog(None, (uncached,)))
        again = copy.deepcopy(start)
        fit(again, replace(slow, cache="on"), machine=machine)
    gain = median_of([median(uncached.rest) / value for value in cached.rest])
    bound = f"; FLOPs allow {worth.bound:.1f}" if blocks else ""
    rows = [
        row(f"{part}: cached epoch / suffix alone", ratio(cached.rest, alone[1:]), limit=1.10 if blocks else None),
        row(f"{part}: uncached epoch / cached epoch{bound}", gain, limit=None if blocks else 20, at_least=True),
        Row(f"{part}: tensors that differ, cached or not", float(_differing(again, nets["uncached"])), "", limit=0),
        Row(f"{part}: largest difference of weights, on the cache or by hand", distance(nets["cached"], hand.net), ""),
        Row(f"{part}: accuracy on the cache less accuracy by hand", _accuracy(nets["cached"], hand.net, task), ""),
    ]
    return [*rows, Row(f"{part}: first epoch with the cache's making", cached.values[0], "s")]


def _accuracy(one: Net, other: Net, task: Task) -> float:
    return accuracy(one, task) - accuracy(other, task)


def _differing(one: Net, other: Net) -> int:
    """How many tensors of the nets are not equal to the bit."""
    state = other.state_dict()
    return sum(not torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def measure(*, quick: bool) -> list[Row]:
    """ResNet-18 at 224 px."""
    keep_freed_memory()  # `fit` does so itself; the loop by hand runs in the same process and gains by it too
    count, pairs = (64, 4) if quick else (256, 15)
    start, task = build("timm:resnet18", pretrained=False), pictures(count, 224)
    start.heads.clear()
    start.add_head("task", CLASSES)
    return [found for part in PARTS for found in _compare(start, task, part, pairs)]
