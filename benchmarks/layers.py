"""The study of layers: what a frozen run costs beside its suffix, and what a second worker brings.

A frozen run of the study (the eight-layer net at 32 px, 5 000 training and 4 000 test images, 10 epochs) whose prefix some
other run has passed already, everything from drawing the weights to writing down the answers included, against a loop
written by hand that trains the same suffix on the same activations, in the same batches and at the same rates, from a tensor
in memory, and then answers the test images from another. The grid of one seed is carried out by one one-thread worker and by
two, starting the workers included.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio, seconds
from headstart.catalog.study import LayersConfig
from headstart.data.store import store_of
from headstart.data.task import Task
from headstart.engine.optim import factor, set_rate
from headstart.engine.prefix_cache import Prefix
from headstart.engine.sampler import plan_for
from headstart.nets.small import convnet8
from headstart.nets.sources import ready
from headstart.seeding import generator, seed_for
from headstart.studies.layers import layers, recipe_of
from headstart.studies.layers_plan import Run, cuts_of
from headstart.studies.layers_runs import TASK, Half, Setup, one, prepared, stored_half

CLASSES = 4


def pictures(count: int, name: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random pixels: for times, what they show does not matter."""
    draw = generator(0, "benchmark", "layers", name)
    return draw.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), np.arange(count) % CLASSES


def setup_in(folder: Path, train: int, test: int, epochs: int) -> Setup:
    """A study whose two halves are random pictures, and whose bases are trained for one epoch."""
    net = ready(convnet8(32))
    sizes = {"train": train, "test": test}
    halves = {f"like 0 {half}": Half(**{part: _stored(folder, half, part, n) for part, n in sizes.items()}) for half in "AB"}
    cuts = {cut.n: cut.blocks for cut in cuts_of(net, ())}
    recipe = recipe_of(LayersConfig(data="", epochs=epochs))
    assert net.source is not None
    setup = Setup(folder, net.source, cuts, halves, recipe, 0)
    one(replace(setup, recipe=replace(recipe, epochs=1)), Run("base", 0, None, "A", 0, 0, "like"))
    return setup


def _stored(folder: Path, half: str, part: str, count: int) -> Task:
    pixels, labels = pictures(count, f"{half} {part}")
    rows = np.arange(count, dtype=np.int64)
    return stored_half(folder, store_of(pixels), rows, labels.astype(np.int64), tuple("abcd"), f"{half}-{part}")


class ByHand:
    """The suffix of a run, trained and tested on activations in memory by the shortest loop there is."""

    def __init__(self, setup: Setup, run: Run) -> None:
        self.setup, self.run = setup, run
        net, self.stage, frozen = prepared(setup, run)
        prefix = Prefix(net, next((name for name in net.block_names if name not in frozen), None), 32)
        net.eval()
        self.x, self.test = (_activations(prefix, task) for task in (self.stage.data, setup.half(run).test))
        self.y, self.right = torch.from_numpy(self.stage.data.targets), torch.from_numpy(setup.half(run).test.targets)
        self.start = prefix.end
        self.net = copy.deepcopy(net)

    def ready(self) -> None:
        """The network as it is before its training; not counted."""
        self.net, *_ = prepared(self.setup, self.run)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self) -> None:
        """All epochs, and the test."""
        net, stage, rule = self.net, self.stage, self.stage.optimizer
        plan = plan_for(stage, seed_for(self.setup.seed_of(self.run, self.run.target), "stage", stage.name))
        parts = [*(net.blocks[name] for name in net.between(self.start, None)), net.head(TASK)]
        net.requires_grad_(False)
        for part in parts:
            part.train().requires_grad_(True)
        trained = [parameter for part in parts for parameter in part.parameters()]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": rule.weight_decay, "scale": 1.0},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0, "scale": 1.0},
        ]
        optimizer = torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum, nesterov=True, fused=True)
        for epoch in range(plan.epochs):
            order = torch.from_numpy(plan.order(epoch))
            for place, rows in enumerate(order.split(plan.batch_size)):
                set_rate(optimizer, rule.lr * factor(rule, epoch * plan.per_epoch + place, plan.steps))
                loss = nn.functional.cross_entropy(self._answer(self.x[rows]), self.y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        net.eval()
        with torch.no_grad():
            said = torch.cat([self._answer(part).argmax(1) for part in self.test.split(64)])
        self.accuracy = float((said == self.right).float().mean())

    def _answer(self, x: Tensor) -> Tensor:
        net = self.net
        return net.answer(net.run(x, start=self.start), TASK) if self.start != net.last else net.answer({net.last: x}, TASK)


def _activations(prefix: Prefix, task: Task) -> Tensor:
    """`[N, ...]`, maps with channels last, as the suffix wants them."""
    parts = [task.rows[start : start + prefix.width] for start in range(0, len(task), prefix.width)]
    x = torch.cat([prefix(task.store.gather(rows)) for rows in parts])
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def _run_rows(setup: Setup, pairs: int) -> tuple[list[Row], list[float]]:
    """A row per cut; and per pair the seconds of all cuts over those by hand."""
    rows, sums = [], {"run": [0.0] * pairs, "hand": [0.0] * pairs}
    for n in setup.cuts:
        run, cache = Run("selffer", n, "A", "A", 0, 0, "like"), setup.folder / f"cache-{n}"
        hand = ByHand(setup, run)
        taken = in_turn(
            {"run": lambda run=run, cache=cache: one(setup, run, cache), "hand": hand},
            pairs,
            ready=lambda name, hand=hand: hand.ready() if name == "hand" else None,
        )
        for name, values in taken.items():
            sums[name] = [total + value for total, value in zip(sums[name], values, strict=True)]
        told = f"frozen to layer {n}: run / suffix alone ({np.median(taken['hand']):.2f} s)"
        rows.append(row(told, ratio(taken["run"], taken["hand"]), limit=1.15))
    return rows, [a / b for a, b in zip(sums["run"], sums["hand"], strict=True)]


def _differing(setup: Setup) -> float:
    """Test images of all cuts that are answered otherwise when nothing is shared."""
    differ = 0
    for n in setup.cuts:
        run = Run("selffer", n, "A", "A", 0, 0, "like")
        shared, alone = one(setup, run, setup.folder / f"cache-{n}"), one(replace(setup, share=False), run)
        differ += int(shared["right"] != alone["right"])
    return float(differ)


def _workers(folder: Path, images: int, epochs: int, rounds: int) -> Row:
    """Two one-thread workers against one."""
    pixels, _ = pictures(images, "workers")
    data = pixels, np.arange(images) % (2 * CLASSES)
    taken: Mapping[int, list[float]] = {1: [], 2: []}
    for number in range(rounds):
        for count in (1, 2) if number % 2 else (2, 1):
            config = LayersConfig(data="", out=folder / "study", epochs=epochs, workers=count, overwrite=True, seeds=1)
            taken[count].append(seconds(lambda config=config: layers(config, data=data)))
    told = f"a grid of {82} runs: two workers / one ({np.median(taken[1]):.0f} s)"
    return row(told, ratio(taken[2], taken[1]), limit=0.6)


def measure(*, quick: bool) -> list[Row]:
    """Runs one by one on one thread, then the grid."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sizes = (256, 128, 2) if quick else (5000, 4000, 10)
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as place:
        setup = setup_in(Path(place), *sizes)
        rows, together = _run_rows(setup, 2 if quick else 5)
        rows.append(row("all cuts: runs / suffixes alone", median_of(together), limit=1.15))
        less = replace(setup, recipe=replace(setup.recipe, epochs=2))
        rows.append(Row("cuts answered otherwise when nothing is shared", _differing(less), "", limit=0))
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as place:
        rows.append(_workers(Path(place), *((200, 1, 1) if quick else (2400, 6, 3))))
    torch.set_num_threads(threads)
    return rows
