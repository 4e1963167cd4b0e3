"""The whole job of the frozen strategies against the bare minimum: decoding once and one pass of the backbone.

The job: open the folder, decode and inspect it, one pass that reads every depth, a cross-validated probe at every depth, and
then probe and SVM, each with its penalty chosen by cross-validation and refitted on everything. The probe on all depths side
by side (2 496 features) comes last, and the ratio is told with it and without.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import minimum, photographs
from benchmarks.table import Row, row
from benchmarks.timing import in_turn, median_of, ratio
from headstart.catalog.strategies import EarlyProbeConfig
from headstart.data.prepare import prepare
from headstart.data.sources import open_source
from headstart.data.splits import folds
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.features import FeatureBank
from headstart.engine.run import Drive
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.strategies.early_probe import depths_of, early_probe
from headstart.strategies.probe import probe
from headstart.strategies.svm import svm
from headstart.transferability.depth import probe_by_depth

CLASSES, SEED = 10, 0


def job(folder: Path, net: Net, spent: dict[str, list[float]]) -> None:
    """The whole of it; seconds of its parts are added to `spent`."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as cache:
        clock = _Clock(spent)
        data = prepare(open_source(folder), size=net.input.size, cache=Path(cache))
        task = data.task()
        clock.lap("decode and inspect")
        bank, depths = FeatureBank(Path(cache)), depths_of(net)
        features = bank.get(net, task.store, task.rows, depths)
        clock.lap("one pass")
        labels = torch.from_numpy(task.targets)
        parts = folds(task.targets, None, 5, SEED, classes=task.classes)
        by_depth = {name: torch.from_numpy(features[name]) for name in depths}
        probe_by_depth(by_depth, labels, task.num_classes, parts, seed=SEED)
        clock.lap("probe by depth")
        strategies = {"probe": probe(net, task), "svm": svm(net, task)}
        strategies["all depths"] = early_probe(net, task, EarlyProbeConfig("all"))
        for name, stages in strategies.items():
            Drive(net, SEED, bank=bank).run(stages)
            clock.lap(name)


class _Clock:
    """Seconds since the lap before."""

    def __init__(self, spent: dict[str, list[float]]) -> None:
        self.spent, self.last = spent, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.spent.setdefault(name, []).append(now - self.last)
        self.last = now


def measure(*, quick: bool) -> list[Row]:
    """2 000 JPEGs of 500 x 375 pixels, ResNet-18 at 224 px."""
    keep_freed_memory()  # the job does so itself, and the bare minimum must be sought under the same conditions
    count, pairs = (200, 2) if quick else (2000, 5)
    net = build("timm:resnet18", pretrained=False)
    spent: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as place:
        folder = Path(place) / "photographs"
        photographs.write(folder, count, CLASSES)
        paths = minimum.files(folder)
        best = minimum.find(net, paths[: 32 if quick else 64], rounds=1 if quick else 5)
        apart: dict[str, list[float]] = {}

        def bare() -> None:
            clock = _Clock(apart)
            pixels = best.decoded(paths)
            clock.lap("decoding")
            best.passed(pixels)
            clock.lap("the pass")

        taken = in_turn({"job": lambda: job(folder, net, spent), "bare": bare}, pairs)
    last = spent["all depths"][1:]
    without = [whole - part for whole, part in zip(taken["job"], last, strict=True)]
    rows = [row(f"{count} JPEGs: whole job / bare minimum", ratio(without, taken["bare"]), limit=1.25)]
    rows.append(row("with the probe on all depths together / bare minimum", ratio(taken["job"], taken["bare"])))
    rows.append(row(f"whole job, {count / float(np.median(taken['job'])):.0f} images/s", median_of(taken["job"]), unit="s"))
    rows += [row(f"of which {name}", median_of(values[1:]), unit="s") for name, values in spent.items()]
    rows.append(row(f"bare minimum ({best.name})", median_of(taken["bare"]), unit="s"))
    return rows + [row(f"of which {name}", median_of(values[1:]), unit="s") for name, values in apart.items()]
