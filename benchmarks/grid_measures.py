"""What can be measured before anything is trained, for every cell of the grid: source, target, images per class and draw.

    python -m benchmarks.grid_measures DATA_FOLDER WEIGHTS_FOLDER [--out benchmarks/grid_measures.csv] [--only PAIR ...]

The folders are those of `benchmarks.grid`, whose cells these are; `benchmarks.advice` puts both tables side by side.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.grid import PAIRS, SEED, Pair, Places, alone, cells, drawn, source, targets
from headstart.data.splits import folds as make_folds
from headstart.data.task import Task
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.features import FeatureBank, beside
from headstart.nets.net import Net, count_parameters
from headstart.seeding import seed_for
from headstart.strategies.early_probe import depths_of
from headstart.studies.measure import pixel_baseline
from headstart.transferability.depth import probe_by_depth
from headstart.transferability.knn import knn
from headstart.transferability.learning_curve import learning_curve
from headstart.transferability.logme import logme


def look(net: Net, task: Task, bank: FeatureBank, draw: int) -> dict[str, object]:
    """Everything the advice could rest on, of one cell."""
    began = time.perf_counter()
    count = max(min(5, int(task.counts.min())), 2)
    folds = make_folds(task.targets, None, count, seed_for(SEED, "measures", draw), classes=task.classes)
    depths = depths_of(net)
    features = bank.get(net, task.store, task.rows, depths)
    labels = torch.from_numpy(task.targets)
    passed = time.perf_counter() - began
    by_block = {name: torch.from_numpy(features[name]) for name in depths}
    curve = probe_by_depth(by_block, labels, task.num_classes, folds, seed=0)
    every = probe_by_depth({"all": beside(features, depths)}, labels, task.num_classes, folds, seed=0)
    growth = learning_curve(by_block[curve.peak], labels, task.num_classes, folds, seed=draw)
    last = features[net.last]
    nearest = knn(last, task.targets, task.num_classes)
    accuracies = list(curve.accuracies.values())
    points = [f"{point.images:.0f}:{point.accuracy.mean:.5f}" for point in growth.points]
    return {
        "images": len(task),
        "classes": task.num_classes,
        "typical": float(np.median(task.counts)),
        "chance": round(float(task.counts.max() / task.counts.sum()), 5),
        "parameters": count_parameters(net.blocks),
        "pixels": _number(pixel_baseline(task, folds, 0)),
        "probe_last": _number(accuracies[-1]),
        "probe_best": _number(max(accuracies)),
        "all_depths": _number(every.accuracies["all"]),
        "knn": _number(nearest.accuracy.mean),
        "logme": _number(logme(last, task.targets, task.num_classes).score),
        "depths": ";".join(f"{a:.5f}" for a in accuracies),
        "growth": ";".join(points),
        "twice": "" if growth.twice is None else f"{growth.twice.low:.5f};{growth.twice.mean:.5f};{growth.twice.high:.5f}",
        "pass_seconds": round(passed, 3),
        "seconds": round(time.perf_counter() - began, 3),
    }


def _number(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)


def rows_for(pair: Pair, per_class: int, draw: int, places: Places) -> dict[str, object]:
    """One row."""
    net = source(pair.source, pair.size, places)
    train, _ = targets(pair, places)
    task = alone(drawn(train, per_class, pair, draw))
    return {"pair": pair.name, "per_class": per_class, "draw": draw, **look(net, task, FeatureBank(), draw)}


def main() -> int:
    """Parse and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid_measures", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "grid_measures.csv")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "headstart-grid")
    parser.add_argument("--only", nargs="*", default=[], metavar="PAIR")
    parser.add_argument("--draws", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    places = Places(args.data, args.weights, args.kept)
    pairs = [pair for pair in PAIRS if not args.only or pair.name in args.only]
    rows = []
    for pair, per_class, draw in cells(pairs, args.draws):
        rows.append(rows_for(pair, per_class, draw, places))
        print(rows[-1], flush=True)
    with open(args.out, "w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
