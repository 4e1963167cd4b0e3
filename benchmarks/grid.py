"""Which strategy wins where: six strategies on source-target pairs of two or three sizes of data, one row per run.

    python -m benchmarks.grid DATA_FOLDER WEIGHTS_FOLDER [--out benchmarks/grid.csv] [--only PAIR ...] [--minutes M]

DATA_FOLDER holds cifar10, cifar100_sub, tinyimagenet20, gtsrb43, caltech20, hymenoptera and bccd as folders and mnist.npz;
WEIGHTS_FOLDER a MobileNetV1-0.25 trained on ImageNet, with the module it belongs to in `nets.py`. Finished runs are kept, so
that the same command goes on where it stopped; the first draw of every pair comes before the second. What the adviser learns
from the table is in docs/advice.md.

A run learns from `per_class` images of every class (fewer where there are fewer), drawn anew for each draw, by an arm as
`headstart adapt` has it, and is judged on at most 1 000 images of the test split. Epochs are those `adapt` would plan
without a limit, but at most so many that a run takes about twenty seconds on one core.
"""

from __future__ import annotations

import argparse
import copy
import csv
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import append
from headstart.data.prepare import DataSet, prepare
from headstart.data.sources import open_source
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.data.views import standard_view
from headstart.engine.allocator import keep_freed_memory
from headstart.engine.checkpoint import Checkpoints
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine, fit
from headstart.engine.run import Drive
from headstart.nets.build import build
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.nets.small import cifar_resnet
from headstart.seeding import generator, seed_for
from headstart.stage import Budget, Optimizer, Stage
from headstart.strategies import STRATEGIES
from headstart.studies.arms import all_arms, base_recipe, with_epochs
from headstart.terms.supervised import Supervised

SEED, TEST_IMAGES = 0, 1000
WORK = 2.0e12
"""multiply-adds of forward passes that a trained run may take: about twenty seconds on one core"""
STRATEGY_NAMES = ("probe", "early_probe", "partial_third", "full", "lpft", "retrain")
COLUMNS = ("pair", "per_class", "draw", "strategy", "images", "classes", "epochs", "accuracy", "tested", "seconds")


@dataclass(frozen=True)
class Pair:
    """A source network, target data, the side of its pictures, and images per class: few, some, many.

    mirror  whether a mirrored picture keeps its class
    """

    source: str
    target: str
    size: int
    per_class: tuple[int, ...]
    mirror: bool = True

    @property
    def name(self) -> str:
        return f"{self.source}>{self.target}"


PAIRS = (
    Pair("cifar10", "cifar100", 32, (5, 25, 100)),
    Pair("cifar10", "tinyimagenet20", 32, (5, 25, 100)),
    Pair("cifar10", "gtsrb43", 32, (3, 12, 45), mirror=False),
    Pair("cifar10", "mnist", 32, (5, 25, 200), mirror=False),
    Pair("cifar10", "caltech20", 32, (5, 15, 45)),
    Pair("half", "other_half", 32, (5, 40, 400)),
    Pair("imagenet", "tinyimagenet20", 64, (5, 25, 100)),
    Pair("imagenet", "gtsrb43", 64, (3, 12, 45), mirror=False),
    Pair("imagenet", "mnist", 64, (5, 25, 200), mirror=False),
    Pair("imagenet", "caltech20", 96, (5, 15, 45)),
    Pair("imagenet", "hymenoptera", 96, (5, 25, 100)),
    Pair("imagenet", "bccd", 96, (5, 25, 100)),
)


@dataclass(frozen=True)
class Places:
    """Where data, weights and what is kept between calls lie."""

    data: Path
    weights: Path
    kept: Path


def targets(pair: Pair, places: Places) -> tuple[Task, Task]:
    """The training part, and at most `TEST_IMAGES` of the test split."""
    data = _data(pair.target, pair.size, places)
    train, test = data.task("main", "train"), data.task("main", "test")
    if len(test) > TEST_IMAGES:
        test = test.take(np.linspace(0, len(test) - 1, TEST_IMAGES).round().astype(np.int64))
    return train, test


def alone(task: Task) -> Task:
    """The same task on a store of its images alone, so that frozen prefixes are kept for these and no others."""
    store = store_of(np.ascontiguousarray(task.store.array[task.rows]))
    return task_of(task.name, store, task.targets, task.classes)


@cache
def _data(name: str, size: int, places: Places) -> DataSet:
    if name in ("half", "other_half"):
        where: object = _half(places, name)
    elif name == "cifar100":
        where = places.data / "cifar100_sub"
    elif name == "mnist":
        where = places.data / "mnist.npz"
    elif name == "bccd":
        where = _platelets(places)
    else:
        where = places.data / name
    data = prepare(open_source(where), size=size, cache=places.kept / "decoded")
    return _coarse(data, places) if name == "cifar100" else data


def _half(places: Places, name: str) -> Path:
    """A folder of links to every second class of CIFAR-10, or to the others."""
    folder = places.kept / name
    for split in ("train", "test"):
        classes = sorted(path for path in (places.data / "cifar10" / split).iterdir() if path.is_dir())
        for path in classes[name == "other_half" :: 2]:
            link = folder / split / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(path.resolve(), target_is_directory=True)
    return folder


def _coarse(data: DataSet, places: Places) -> DataSet:
    """CIFAR-100 with its twenty superclasses."""
    with open(places.data / "cifar100_sub" / "fine_to_coarse.csv", newline="") as handle:
        rows = list(csv.reader(handle))[1:]
    coarse = dict(row[:2] for row in rows)
    classes = tuple(sorted(set(coarse.values())))
    of_fine = np.array([classes.index(coarse[fine]) for fine in data.classes])
    return replace(data, labels=of_fine[data.labels], classes=classes)


def _platelets(places: Places) -> Path:
    """Blood cells: a table that says whether a picture shows platelets."""
    with open(places.data / "bccd" / "labels.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    out = places.kept / "bccd.csv"
    with open(out, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("path", "label", "split"))
        for row in rows:
            label = "platelets" if int(row["n_Platelets"]) else "none"
            split = "test" if row["split"] == "test" else "train"
            writer.writerow(((places.data / "bccd" / "images" / row["file"]).resolve(), label, split))
    return out


@cache
def source(name: str, size: int, places: Places) -> Net:
    """The network of that name, for pictures of that size."""
    if name == "cifar10":
        return build("embedded")
    if name == "half":
        return _trained_on_half(places)
    spec = importlib.util.spec_from_file_location("given_nets", places.weights / "nets.py")
    assert spec is not None
    assert spec.loader is not None
    given = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(given)
    file = places.weights / "mobilenet_v1_0.25_128_imagenet_fp16.pt"
    return build(given.MobileNetV1(), weights=file, size=size, mean=(0.5,) * 3, std=(0.5,) * 3)


def _trained_on_half(places: Places) -> Net:
    """ResNet-20 on five classes of CIFAR-10, as the embedded backbone was trained on ten, for fewer epochs."""
    task = _data("half", 32, places).task("source")
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(SEED, "half"))
        net = cifar_resnet(20)
    net.add_head("source", task.num_classes)
    stage = Stage(
        "supervised",
        task,
        trains={"blocks": 1.0, "heads": 1.0},
        terms={"supervised": Supervised("source")},
        budget=Budget(epochs=12),
        optimizer=Optimizer(lr=0.1, weight_decay=5e-4, warmup=0.05),
        views={"main": standard_view(32)},
        batch_size=128,
    )
    folder = places.kept / "half-net"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done.pt"
    if done.exists():
        net.load_state_dict(torch.load(done, weights_only=True))
        return net
    fit(net, stage, seed=SEED, machine=Machine(precision="bf16"), checkpoints=Checkpoints(folder))
    torch.save(net.state_dict(), done)
    return net


def drawn(train: Task, per_class: int, pair: Pair, draw: int) -> Task:
    """At most `per_class` images of every class."""
    rng = generator(SEED, "grid", pair.name, draw)
    order = rng.permutation(len(train))
    by_class = [order[train.targets[order] == c][:per_class] for c in range(train.num_classes)]
    return train.take(np.sort(np.concatenate(by_class)))


def epochs_for(net: Net, images: int) -> int:
    """What 500 steps come to (BiT's rule), between 8 and 40 epochs, cut to `WORK`."""
    wanted = min(max(-(-500 * 64 // images), 8), 40)
    return max(3, min(wanted, int(WORK / (3 * sum(block_flops(net).values()) * images))))


def run(net: Net, task: Task, test: Task, strategy: str, pair: Pair, draw: int, bank: FeatureBank) -> dict[str, object]:
    """Learn and judge once: what a row says beyond its key."""
    recipe = base_recipe(net, len(task), mirror=pair.mirror, class_weights=False)
    arms = all_arms(net, recipe, seed=draw)
    partial = [arm.name for arm in arms if arm.strategy == "partial"]
    name = partial[1] if strategy == "partial_third" else strategy
    epochs = epochs_for(net, len(task))
    arm = with_epochs(next(arm for arm in arms if arm.name == name), epochs)
    mine, began = copy.deepcopy(net), time.perf_counter()
    Drive(mine, draw, Machine(), None, bank).run(STRATEGIES[arm.strategy](mine, task, arm.config))
    seconds = time.perf_counter() - began
    right = answers(mine, test).argmax(1) == test.targets
    return {
        "images": len(task),
        "classes": task.num_classes,
        "epochs": 0 if arm.frozen else epochs,
        "accuracy": round(float(right.mean()), 5),
        "tested": len(test),
        "seconds": round(seconds, 2),
    }


def cells(pairs: list[Pair], draws: int) -> Iterator[tuple[Pair, int, int]]:
    """Pair, images per class and draw; draws outermost, so that a part of the table is a part of every pair."""
    for draw in range(draws):
        for place in range(3):
            for pair in pairs:
                yield pair, pair.per_class[place], draw


def _done(out: Path) -> set[tuple[str, str, str, str]]:
    if not out.exists():
        return set()
    with open(out, newline="") as handle:
        return {(row["pair"], row["per_class"], row["draw"], row["strategy"]) for row in csv.DictReader(handle)}


def fill(out: Path, places: Places, pairs: list[Pair], draws: int, until: float, say: Callable[[str], None]) -> bool:
    """Carry out what is missing until the clock says `until`; whether everything is there."""
    done = _done(out)
    for pair, per_class, draw in cells(pairs, draws):
        missing = [s for s in STRATEGY_NAMES if (pair.name, str(per_class), str(draw), s) not in done]
        if not missing:
            continue
        net = source(pair.source, pair.size, places)
        train, test = targets(pair, places)
        task, bank = alone(drawn(train, per_class, pair, draw)), FeatureBank()
        for strategy in missing:
            if time.monotonic() > until:
                return False
            row = {"pair": pair.name, "per_class": per_class, "draw": draw, "strategy": strategy}
            row |= run(net, task, test, strategy, pair, draw, bank)
            append(out, COLUMNS, row)
            say(f"{pair.name} {per_class} per class, draw {draw}, {strategy}: {row['accuracy']} in {row['seconds']} s")
    return True


def main() -> int:
    """Parse and fill the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "grid.csv")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "headstart-grid", help="for resuming")
    parser.add_argument("--only", nargs="*", default=[], metavar="PAIR", help=", ".join(pair.name for pair in PAIRS))
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long; the same command goes on")
    args = parser.parse_args()
    pairs = [pair for pair in PAIRS if not args.only or pair.name in args.only]
    keep_freed_memory()
    torch.set_num_threads(1)
    places = Places(args.data, args.weights, args.kept)
    args.kept.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * args.minutes
    return 0 if fill(args.out, places, pairs, args.draws, until, lambda text: print(text, flush=True)) else 3


if __name__ == "__main__":
    sys.exit(main())
