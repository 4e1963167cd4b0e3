"""What can be said about data and network before anything is trained: one pass of the backbone, and arithmetic."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.task import Task
from headstart.engine.evaluate import batch_for, looking
from headstart.engine.features import FeatureBank
from headstart.engine.log import RunLog
from headstart.engine.step import present
from headstart.nets.cost import block_flops
from headstart.nets.net import Net, count_parameters
from headstart.strategies.early_probe import depths_of
from headstart.studies.race import Fold
from headstart.transferability.adviser import GAIN, LARGE_IN_ALL, SKILL, Advice, advise
from headstart.transferability.depth import DepthCurve, probe_by_depth
from headstart.transferability.knn import knn
from headstart.transferability.logme import logme

_SAMPLE = 5_000
"""Images that k-NN and LogME look at, at most; their cost grows faster than the data."""


@dataclass(frozen=True)
class Measures:
    """Everything the advice rests on.

    curve            probe accuracy by depth, on the race's own folds
    seconds_per_mac  of one gradient-free pass, for planning the race
    """

    advice: Advice
    curve: DepthCurve
    knn: dict[str, Any]
    logme: float
    pixel_baseline: float | None
    seconds_per_mac: float

    def position(self) -> tuple[float, float]:
        """Where the data lies in the 2x2 table, (similarity, size), both 0 to 1 with the border at one half."""
        return _similarity_position(self.advice), _size_position(self.advice)


def measure(net: Net, task: Task, folds: Sequence[Fold], bank: FeatureBank, *, seed: int, log: RunLog) -> Measures:
    """Look at `task` through the frozen `net`: k-NN, LogME, cross-validated probes by depth, and a probe of raw pixels."""
    depths = depths_of(net)
    features = bank.get(net, task.store, task.rows, depths)
    rate = pace(net, task)
    log.event("phase", name="probe", text=f"probing {len(depths)} depths")
    labels = torch.from_numpy(task.targets)
    pairs = list(folds)
    curve = probe_by_depth(
        {name: torch.from_numpy(features[name]) for name in depths}, labels, task.num_classes, pairs, seed=seed
    )
    pixels = pixel_baseline(task, pairs, seed)
    some = _spread(len(task), _SAMPLE)
    last = features[net.last][some]
    nearest = knn(last, task.targets[some], task.num_classes, groups=_groups(task, some))
    evidence = logme(last, task.targets[some], task.num_classes)
    advice = advise(
        len(task),
        task.counts.tolist(),
        task.num_classes,
        curve.accuracies,
        float(nearest.accuracy.mean),
        float(evidence.score),
        pixels,
        count_parameters(net.blocks),
    )
    interval = nearest.accuracy
    near = {"accuracy": interval.mean, "interval": [interval.low, interval.high], "k": nearest.k, "images": len(some)}
    return Measures(advice, curve, near, float(evidence.score), pixels, rate)


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
                values.sum().item()  # waits for the device
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


def _similarity_position(advice: Advice) -> float:
    measures = advice.measures
    gain, border = measures["gain_over_pixels"], GAIN
    if gain is None:
        gain, border = measures["skill"], SKILL
    place = 0.5 + 0.5 * (gain - border) / (1 - border) if gain >= border else 0.5 * max(gain, 0.0) / border
    return _on_side(place, advice.similarity == "high")


def _size_position(advice: Advice) -> float:
    decades = math.log10(max(advice.measures["num_images"], 1) / LARGE_IN_ALL)
    return _on_side(0.5 + decades / 6, advice.size == "large")


def _on_side(place: float, high: bool) -> float:
    """Keep the point on the side of the border where the rule put it."""
    return min(max(place, 0.53), 0.98) if high else max(min(place, 0.47), 0.02)
