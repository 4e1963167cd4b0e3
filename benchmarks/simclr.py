"""SimCLR: `engine.fit` against the shortest PyTorch loop that does the same arithmetic; and what chunks save and cost.

The loop below has the same batches, views, network, projection, loss, fused SGD, rates and weight decays, and nothing else.
Both start from the same weights and do the same number of steps. After one step they agree to rounding (8e-6 of a tensor's
largest weight); training lets that grow, so that after twelve the row "largest difference" may say tenths.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.fine_tune import distance, pictures
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, ratio
from headstart.catalog.contrast import SimclrConfig
from headstart.catalog.pretraining import Schooling
from headstart.data.task import Task
from headstart.data.views import normalise
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.fit import fit
from headstart.engine.inputs import view_seed
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import permutation, seed_for
from headstart.stage import Stage
from headstart.strategies.pretrain.simclr import simclr
from headstart.studies.peak_memory import PeakMemory
from headstart.terms.two_views import TwoViews

SCHOOL = Schooling(epochs=1, batch_size=128, lr=0.01, warmup=0.0)


def stage_for(net: Net, task: Task, **settings: object) -> Stage:
    """One epoch of SimCLR."""
    cfg = replace(SimclrConfig(SCHOOL), **settings)  # type: ignore[arg-type]
    stage = next(iter(simclr(net, task, cfg)))
    assert isinstance(stage, Stage)
    return stage


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Of 2N rows, row i and row i + N are of one image."""
    z = nn.functional.normalize(z, dim=1)
    scores = (z @ z.mT / temperature).fill_diagonal_(-torch.inf)
    return nn.functional.cross_entropy(scores, torch.arange(len(z)).roll(len(z) // 2))


def by_hand(net: Net, stage: Stage, seed: int = 0) -> float:
    """The minimal loop; returns the seconds that views took."""
    task, rule = stage.task, stage.optimizer
    stage_seed = seed_for(seed, "stage", stage.name)
    seeds = {name: view_seed(view, seed, stage_seed, name) for name, view in stage.views.items()}
    order = permutation(len(task), stage_seed, "order", 0)
    images = torch.from_numpy(task.store.array)
    (term,) = stage.terms.values()
    assert isinstance(term, TwoViews)
    projection = term.projection
    trained = [*net.parameters(), *projection.parameters()]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": rule.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=rule.lr, momentum=rule.momentum, nesterov=True, fused=True)
    net.to(memory_format=torch.channels_last)
    net.train()
    spent, rows = 0.0, torch.from_numpy(order).split(stage.batch_size)
    for step, chosen in enumerate(rows):
        for group in optimizer.param_groups:
            group["lr"] = rule.lr * 0.5 * (1 + math.cos(math.pi * step / len(rows)))
        began = time.perf_counter()
        shown = [view.render(images[chosen], chosen, seed=seeds[name], draw=0) for name, view in stage.views.items()]
        spent += time.perf_counter() - began
        x = normalise(torch.cat(shown), net.input.mean, net.input.std)
        loss = nt_xent(projection(net.run(x)[net.last]), 0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return spent


def _compare(steps: int, pairs: int) -> list[Row]:
    task = pictures(steps * SCHOOL.batch_size, 32)
    start = build("headstart:cifar_resnet20", pretrained=False, size=32)
    start.heads.clear()
    nets: dict[str, Net] = {}
    stages: dict[str, Stage] = {}
    views: list[float] = []

    def ready(kind: str) -> None:
        nets[kind] = copy.deepcopy(start)
        stages[kind] = stage_for(nets[kind], task)

    parts = {
        "engine": lambda: fit(nets["engine"], stages["engine"]),
        "hand": lambda: views.append(by_hand(nets["hand"], stages["hand"])),
    }
    taken = in_turn(parts, pairs, ready=ready)
    assert distance(nets["engine"], start) > 0, "nothing was trained"
    # The first is that of the warm-up round, which is not among the times.
    share = ratio(views[1:], taken["hand"])
    label = f"resnet20 at 32 px, batches of {SCHOOL.batch_size}"
    return [
        row(f"{label}: engine / hand-written loop", ratio(taken["engine"], taken["hand"]), limit=1.05),
        Row(f"{label}: largest difference between their weights", distance(nets["engine"], nets["hand"]), unit=""),
        row(f"{label}: share of a step spent on two views", share, limit=0.15),
    ]


def _chunks(batch: int, chunk: int, pairs: int) -> list[Row]:
    """One step of a large batch, whole and in chunks."""
    task = pictures(batch, 32)
    start = build("headstart:cifar_resnet20", pretrained=False, size=32)
    start.heads.clear()
    school = replace(SCHOOL, batch_size=batch)
    peaks: dict[str, list[int]] = {"whole": [], "chunks": []}

    def step(kind: str) -> None:
        net = copy.deepcopy(start)
        stage = stage_for(net, task, school=school, chunk=chunk if kind == "chunks" else None)
        with PeakMemory("cpu") as peak:
            fit(net, stage)
        peaks[kind].append(peak.bytes or 0)

    taken = in_turn({kind: partial(step, kind) for kind in peaks}, pairs)
    label = f"resnet20 at 32 px, one step of {batch} images in chunks of {chunk} renderings / whole"
    return [
        row(f"{label}: seconds", ratio(taken["chunks"], taken["whole"])),
        row(f"{label}: peak memory", ratio(peaks["chunks"], peaks["whole"])),
        Row(f"{label}: peak memory of the whole", max(peaks["whole"]) / 1e9, "GB"),
    ]


def measure(*, quick: bool) -> list[Row]:
    """Small pictures in a small net, where the engine's own work shows most."""
    keep_freed_memory()  # `fit` does so itself; the loop by hand runs in the same process and gains by it too
    if quick:
        return [*_compare(2, 2), *_chunks(128, 32, 1)]
    return [*_compare(12, 15), *_chunks(1024, 128, 7)]
