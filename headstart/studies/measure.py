"""What can be said about data and network before anything is trained: one pass of the backbone, and arithmetic."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine.evaluate import batch_for, looking
from headstart.engine.features import FeatureBank
from headstart.engine.log import RunLog
from headstart.engine.step import present
from headstart.metrics.intervals import wilson
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.strategies.early_probe import depths_of
from headstart.studies.race import Fold
from headstart.transferability.adviser import Advice, advise
from headstart.transferability.depth import DepthCurve, probe_by_depth
from headstart.transferability.evidence import Evidence
from headstart.transferability.experience import forecaster
from headstart.transferability.knn import knn
from headstart.transferability.learning_curve import LearningCurve, learning_curve
from headstart.transferability.logme import logme
from headstart.transferability.quadrant import similarity_place

_SAMPLE = 5_000
"""Images that k-NN and LogME look at, at most; their cost grows faster than the data."""


_GROWTH_WORK = 2e10
"""Images times features squared beyond which no learning curve is made: it takes seven cross-validations."""


@dataclass(frozen=True)
class Measures:
    """Everything the advice rests on.

    curve            probe accuracy by depth, on the race's own folds
    growth           what more labels would bring a probe at the best depth; None where it would take too long
    seconds_per_mac  of one gradient-free pass, for planning the race
    spread           80 % interval of the point's similarity, 0 to 1
    """

    advice: Advice
    evidence: Evidence
    curve: DepthCurve
    growth: LearningCurve | None
    knn: dict[str, Any]
    logme: float
    pixel_baseline: float | None
    seconds_per_mac: float
    spread: tuple[float, float]

    def position(self) -> tuple[float, float]:
        """Where the data lies in the 2x2 table, (similarity, size), both 0 to 1 with the border at one half."""
        return self.advice.place.x, self.advice.place.y


def measure(
    net: Net,
    task: Task,
    folds: Sequence[Fold],
    bank: FeatureBank,
    *,
    seed: int,
    log: RunLog,
    pretrained: bool = True,
) -> Measures:
    """Look at `task` through the frozen `net`: k-NN, LogME, cross-validated probes by depth, and a probe of raw pixels.

    pretrained  whether the network has learned from anything; past experiments say nothing about one that has not
    """
    depths = depths_of(net)
    features = bank.get(net, task.store, task.rows, depths)
    rate = pace(net, task)
    log.event("phase", name="probe", text=f"probing {len(depths)} depths")
    labels = torch.from_numpy(task.targets)
    pairs = list(folds)
    by_block = {name: torch.from_numpy(features[name]) for name in depths}
    curve = probe_by_depth(by_block, labels, task.num_classes, pairs, seed=seed)
    growth = _growth(by_block[curve.peak], labels, task.num_classes, pairs, seed)
    some = _spread(len(task), _SAMPLE)
    last, targets = features[net.last][some], task.targets[some]
    nearest = knn(last, targets, task.num_classes, groups=_groups(task, some))
    evidence = Evidence.of(
        len(task),
        task.counts.tolist(),
        list(curve.accuracies.values()),
        count_parameters(net.blocks),
        pixels=pixel_baseline(task, pairs, seed),
        knn=float(nearest.accuracy.mean),
        logme=float(logme(last, targets, task.num_classes).score),
        pretrained=pretrained,
    )
    twice = None if growth is None or growth.twice is None else growth.twice.mean
    advice = advise(evidence, curve.accuracies, forecaster=forecaster(), twice=twice)
    interval = nearest.accuracy
    near = {"accuracy": interval.mean, "interval": [interval.low, interval.high], "k": nearest.k, "images": len(some)}
    spread = _similarity_spread(evidence, len(curve.points[0].correct))
    assert evidence.logme is not None
    return Measures(advice, evidence, curve, growth, near, evidence.logme, evidence.pixels, rate, spread)


def _growth(
    features: torch.Tensor, labels: torch.Tensor, num_classes: int, folds: list[Fold], seed: int
) -> LearningCurve | None:
    if len(features) * features.shape[1] ** 2 > _GROWTH_WORK:
        return None
    return learning_curve(features, labels, num_classes, folds, seed=seed)


def _similarity_spread(e: Evidence, judged: int) -> tuple[float, float]:
    """Where the point would lie at the ends of the probe's 80 % interval over images."""
    interval = wilson(round(e.probe_best * judged), judged, level=0.8)
    low, high = (similarity_place(replace(e, probe_best=end)) for end in (interval.low, interval.high))
    return low, high


def pace(net: Net, task: Task, looks: int = 3, seconds: float = 0.5) -> float:
    """Seconds per multiply-add of a pass without gradient: the median over batches, at least `looks`, for `seconds`.

    The first half does not count: a small network takes a while to reach its speed.
    """
    rows = task.rows[: batch_for(net.input)]
    x = present(task.store.gather(rows).to(net.device), net.input)
    taken: list[float] = []
    with looking(net):
        while len(taken) <= looks or sum(taken) < seconds:
            began = time.monotonic()
            for values in net.run(x).values():
                for one in values if isinstance(values, tuple) else (values,):
                    one.sum().item()  # waits for the device
            taken.append(time.monotonic() - began)
    return float(np.median(taken[len(taken) // 2 :])) / (len(rows) * max(sum(block_flops(net).values()), 1))


def _spread(total: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` positions, evenly spread; all when they fit."""
    return np.linspace(0, total - 1, min(total, limit)).round().astype(np.int64)


def _groups(task: Task, some: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Groups of some images, whose members must not vote for each other: a copy knows the answer. None when all are one."""
    groups = None if task.groups is None else task.groups[task.rows[some]]
    return None if groups is None or (groups == groups[0]).all() else groups


def pixel_baseline(task: Task, folds: list[Fold], seed: int) -> float | None:
    """Accuracy of the same probe on 16x16 pixels: what is there without any network. None for vectors."""
    if not task.store.is_image:
        return None
    parts = []
    for start in range(0, len(task), 512):
        images = task.store.gather(task.rows[start : start + 512]).permute(0, 3, 1, 2).float() / 255
        parts.append(torch.nn.functional.adaptive_avg_pool2d(images, 16).flatten(1))
    labels = torch.from_numpy(task.targets)
    return probe_by_depth({"pixels": torch.cat(parts)}, labels, task.num_classes, folds, seed=seed).accuracies["pixels"]
