"""Learning without Forgetting: what its joint stage costs beside fine-tuning on the same batches, with three old heads.

Both go through `fit`: the same net with the same augmented batches, every block training, and beside the new head's loss the
one compares the answers of three old heads with those recorded. One pass of the backbone serves all heads. The answers are
there before the clock starts; what recording them took, once for the whole run, is told apart. And how much longer a step
takes where the old network answers live instead.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.fine_tune import CLASSES, distance, pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio
from headstart.catalog.continual import FineTuneConfig, Learn, LwfConfig
from headstart.catalog.strategies import Recipe
from headstart.data.task import Task
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.engine.past import Learned, Past
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.fine_tune import fine_tune
from headstart.strategies.continual.lwf import lwf

OLD = ("first", "second", "third")


def _learned(name: str) -> tuple[Net, Past]:
    """A net with three old heads that say something."""
    net, past = build(name, pretrained=False), Past("task")
    draw = np.random.default_rng(0)
    for head in OLD:
        linear = net.add_head(head, CLASSES).linear
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(draw.normal(0, 0.1, tuple(linear.weight.shape))))
        past.tasks.append(Learned(head, head, tuple(f"{head}{n}" for n in range(CLASSES))))
    return net, past


def _stages(start: Net, past: Past, task: Task, batch: int) -> Iterator[tuple[str, Stage, float]]:
    """The joint stage of every kind, and the seconds that asking for it took, in which answers are recorded."""
    learn = Learn(Recipe(epochs=1, batch_size=batch, lr=0.01, warmup=0.0), scale=0.1, norm="train")
    configs = {"recorded": LwfConfig(learn, warmup_epochs=0), "live": LwfConfig(learn, warmup_epochs=0, record=False)}
    yield "plain", list(fine_tune(copy.deepcopy(start), task, FineTuneConfig(learn), past=past))[-1], 0.0
    for kind, config in configs.items():
        net = copy.deepcopy(start)
        began = time.perf_counter()
        made = list(lwf(net, task, config, past=past))[-1]
        yield kind, made, time.perf_counter() - began


def _compare(name: str, size: int, batch: int, steps: int, pairs: int) -> list[Row]:
    task = pictures(steps * batch, size)
    start, past = _learned(name)
    found = {kind: (stage, took) for kind, stage, took in _stages(start, past, task, batch)}
    start.add_head("task", CLASSES)
    nets: dict[str, Net] = {}

    def ready(kind: str) -> None:
        nets[kind] = copy.deepcopy(start)

    parts = {kind: (lambda kind=kind: fit(nets[kind], found[kind][0])) for kind in found}  # type: ignore[misc]
    taken = in_turn(parts, pairs, ready=ready)
    assert distance(nets["recorded"], nets["plain"]) > 0, "the old answers changed nothing"
    names = f"{name.split(':')[1]} at {size} px, batches of {batch}, three old heads"
    once = found["recorded"][1] / median_of(taken["plain"]).value
    return [
        row(f"{names}: step with recorded answers / plain step", ratio(taken["recorded"], taken["plain"]), limit=1.5),
        row(f"{names}: step with a live old network / plain step", ratio(taken["live"], taken["plain"])),
        Row(f"{names}: recording, once / a plain epoch", once),
    ]


def measure(*, quick: bool) -> list[Row]:
    """A small network, where the work beside its arithmetic shows most, and a larger one on larger pictures."""
    keep_freed_memory()
    pairs, steps = (5, 6) if quick else (15, 16)
    return [
        *_compare("headstart:resnet8", 32, 64, steps, pairs),
        *_compare("headstart:resnet20", 32, 64, max(steps // 2, 4), pairs),
        *_compare("timm:resnet18", 64, 32, max(steps // 4, 3), pairs),
    ]
