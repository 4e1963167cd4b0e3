"""How far every cell of the grid lies from what its network learned from: Frechet, class-mean transport, domain classifier.

    python -m benchmarks.grid_similarity DATA_FOLDER WEIGHTS_FOLDER [--out benchmarks/grid_similarity.csv] [--correlations]

The folders are those of `benchmarks.grid`, and DATA_FOLDER/imagenet_sample, one image of every ImageNet class. Finished rows
are kept, so that the same command goes on where it stopped. --correlations only prints how the columns go with the gap
between the best trained and the best frozen strategy, beside the measures of `benchmarks.advice`.

The source is seen as a user would see it: the embedded network carries its statistics; those of the network trained on half
of the classes are computed on its training images; the ImageNet network has the ImageNet sample named as its source, whose
real features the domain classifier then uses.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.advice import Cell
from benchmarks.advice import cells as finished_cells
from benchmarks.grid import PAIRS, SEED, Pair, Places, alone, cells, drawn, source, targets
from benchmarks.rows import append
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.source_statistics import (
    SourceStatistics,
    last_features,
    source_statistics,
    statistics_from_data,
    statistics_from_task,
)
from headstart.seeding import generator, seed_for
from headstart.transferability.evidence import MEASURES
from headstart.transferability.similarity import similarity

COLUMNS = (
    "pair",
    "per_class",
    "draw",
    "frechet",
    "frechet_null",
    "transport",
    "transport_null",
    "domain",
    "domain_spread",
    "seconds",
)


@cache
def known(name: str, size: int, places: Places) -> tuple[SourceStatistics, np.ndarray | None]:
    """Statistics of the network's source, and features of its images where the user would have them."""
    net = source(name, size, places)
    if name == "imagenet":
        look = statistics_from_data(net, _imagenet(places), cache=places.kept / "decoded")
        return look.statistics, look.features
    found = source_statistics(net, "embedded") if name == "cifar10" else None
    if found is None:
        train, _ = targets(Pair(name, name, size, ()), places)
        found = statistics_from_task(net, train)
    return found, None


def _imagenet(places: Places) -> Path:
    """A table of the sample: a file's name begins with its class."""
    out = places.kept / "imagenet_sample.csv"
    with open(out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "split"))
        for path in sorted((places.data / "imagenet_sample").glob("*.jpg")):
            writer.writerow((path.resolve(), path.name.partition("_")[0], "train"))
    return out


def row_for(pair: Pair, per_class: int, draw: int, places: Places) -> dict[str, object]:
    """One row. Values are as they are; what the numbers of images and classes make of them stands beside as null."""
    net = source(pair.source, pair.size, places)
    statistics, real = known(pair.source, pair.size, places)
    train, _ = targets(pair, places)
    task = alone(drawn(train, per_class, pair, draw))
    features = last_features(net, task.store, task.rows)
    began = time.perf_counter()
    seed = seed_for(SEED, "similarity", draw)
    found = similarity(features, task.targets, task.num_classes, statistics, seed=seed, source_features=real)
    assert found.transport is not None
    numbers = {
        "frechet": found.frechet.value,
        "frechet_null": found.frechet.null,
        "transport": found.transport.value,
        "transport_null": found.transport.null,
        "domain": found.domain.value,
        "domain_spread": found.domain.spread,
    }
    rounded = {name: None if value is None else round(value, 5) for name, value in numbers.items()}
    seconds = round(time.perf_counter() - began, 3)
    return {"pair": pair.name, "per_class": per_class, "draw": draw, **rounded, "seconds": seconds}


def fill(out: Path, places: Places, pairs: list[Pair], draws: int) -> None:
    """Append what is missing."""
    done = set()
    if out.exists():
        with open(out, newline="") as handle:
            done = {(row["pair"], row["per_class"], row["draw"]) for row in csv.DictReader(handle)}
    for pair, per_class, draw in cells(pairs, draws):
        if (pair.name, str(per_class), str(draw)) in done:
            continue
        row = row_for(pair, per_class, draw, places)
        append(out, COLUMNS, row)
        print(row, flush=True)


def correlations(out: Path) -> str:
    """Spearman's rank correlation with the gap, over the cells whose strategies have all run, 95 % over data sets."""
    with open(out, newline="") as handle:
        seen = {(row["pair"], row["per_class"], row["draw"]): row for row in csv.DictReader(handle)}
    every = [cell for cell in finished_cells() if (cell.pair, str(cell.per_class), str(cell.draw)) in seen]
    rows = [seen[cell.pair, str(cell.per_class), str(cell.draw)] for cell in every]
    named: dict[str, list[float | None]] = {
        "frechet": [float(row["frechet"]) for row in rows],
        "frechet beyond its null": [float(row["frechet"]) - float(row["frechet_null"]) for row in rows],
        "transport": [float(row["transport"]) for row in rows],
        "transport beyond its null": [
            float(row["transport"]) - float(row["transport_null"]) if row["transport_null"] else None for row in rows
        ],
        "domain": [float(row["domain"]) for row in rows],
    }
    lines = [f"{len(every)} cells"]
    lines += [f"{name:<28} {_shown(every, values)}" for name, values in named.items()]
    for name in ("gain over pixels", "best depth", "LogME", "images per class"):
        values = [MEASURES[name](cell.case.evidence) for cell in every]
        lines.append(f"{name:<28} {_shown(every, values)}")
    return "\n".join(lines)


def _shown(every: list[Cell], values: list[float | None]) -> str:
    """Over all cells with its interval; within the cells of few, some and many images; within those of one source."""
    held, gaps = np.array(values, np.float64), np.array([cell.gap for cell in every])
    sets = sorted({cell.case.target for cell in every})
    members = [np.flatnonzero([cell.case.target == one for cell in every]) for one in sets]
    again = []
    for pick in generator(SEED, "similarity", "correlation").integers(0, len(sets), (1000, len(sets))):
        some = np.concatenate([members[i] for i in pick])
        again.append(_spearman(held[some], gaps[some]))
    low, high = np.nanquantile(again, [0.025, 0.975])
    places = {(pair.name, count): place for pair in PAIRS for place, count in enumerate(pair.per_class)}
    size = np.array([places[cell.pair, cell.per_class] for cell in every])
    each = [f"{word} {_spearman(held[size == p], gaps[size == p]):+.2f}" for p, word in enumerate(("few", "some", "many"))]
    origin = np.array([cell.pair.partition(">")[0] for cell in every])
    each += [f"from {name} {_spearman(held[origin == name], gaps[origin == name]):+.2f}" for name in ("cifar10", "imagenet")]
    return f"{_spearman(held, gaps):+.2f} ({low:+.2f} to {high:+.2f}); {', '.join(each)}"


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Of what is known."""
    a, b = a[~np.isnan(a)], b[~np.isnan(a)]
    return float(spearmanr(a, b).statistic) if len(np.unique(a)) > 1 and len(np.unique(b)) > 1 else float("nan")


def main() -> int:
    """Parse and fill the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid_similarity", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "grid_similarity.csv")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "headstart-grid")
    parser.add_argument("--only", nargs="*", default=[], metavar="PAIR")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--correlations", action="store_true", help="fill nothing; say what goes with the gap")
    args = parser.parse_args()
    if not args.correlations:
        if args.weights is None:
            parser.error("DATA_FOLDER and WEIGHTS_FOLDER are needed")
        keep_freed_memory()
        torch.set_num_threads(1)
        pairs = [pair for pair in PAIRS if not args.only or pair.name in args.only]
        fill(args.out, Places(args.data, args.weights, args.kept), pairs, args.draws)
    print(correlations(args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
