"""Which measure picks the best source network: what a person loses by following its favourite.

    python -m benchmarks.select DATA_FOLDER WEIGHTS_FOLDER [--out benchmarks/select.csv] [--only TARGET ...] [--minutes M]

DATA_FOLDER and WEIGHTS_FOLDER are as in `benchmarks.grid`; the weights folder also holds the networks of `CANDIDATES`. For
every target each candidate is scored on some training images (three folds), and then, unseen by any measure, adapted
to all of them, by a probe and by probe-then-fine-tune for a fixed short time, and judged on test images. What a candidate is
worth is the better of the two. Then `headstart select` chooses, which is a row of its own, called `select`.

Rows are kept, so that the same command goes on where it stopped. `--table` only prints the regret of the favourites:
points below the best candidate, with a bootstrap interval over targets.
"""

from __future__ import annotations

import argparse
import copy
import csv
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

import headstart
from benchmarks.grid import PAIRS, Pair, Places, alone, drawn, source, targets
from benchmarks.rows import append
from headstart.catalog.select import Candidate
from headstart.data.splits import folds as make_folds
from headstart.data.task import Task
from headstart.engine.evaluate import answers
from headstart.engine.features import FeatureBank
from headstart.engine.fit import Machine
from headstart.engine.run import Drive
from headstart.metrics.intervals import bootstrap_mean
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.strategies import STRATEGIES
from headstart.studies.arms import all_arms, base_recipe, with_epochs
from headstart.studies.candidates import load
from headstart.studies.scored import score

SEED, IMAGES, TEST_IMAGES, EPOCHS, FOLDS, SIDE = 0, 240, 500, 8, 3, 96
WAYS = ("probe", "lpft")
MEASURES = ("probe", "probe_last", "knn", "logme", "hscore", "transrate", "leep", "nce", "size")
COLUMNS = ("target", "candidate", "images", "classes", *MEASURES, *(f"test_{way}" for way in WAYS), "seconds", "chosen")
SELECT = "select"
CANDIDATES = (
    "embedded",
    "half",
    "resnet20",
    "resnet56",
    "resnet8",
    "mobilenet_v1_0.25",
    "mobilenetv2_100",
    "squeezenet1_0",
)
TARGETS: dict[str, Pair] = {pair.target: pair for pair in PAIRS if pair.target != "other_half"}


def candidate(name: str, places: Places) -> Candidate:
    """A network with weights that somebody trained; those from ImageNet see pictures of 96 px."""
    given, weights = _given(places), places.weights
    if name == "embedded":
        return Candidate("embedded", name)
    if name == "half":
        return Candidate(source("half", 32, places), name)
    plain: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3, "size": 32}
    centred: dict[str, Any] = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "size": SIDE}
    usual: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "size": 32}
    known: dict[str, Callable[[], Candidate]] = {
        "resnet20": lambda: Candidate(given.CifarResNet(20), name, weights / "resnet20-12fca82f.th", **usual),
        "resnet56": lambda: Candidate(given.CifarResNet(56), name, weights / "resnet56-4bfd9763.th", **usual),
        "resnet8": lambda: Candidate(given.ResNet8(), name, weights / "resnet8_cifar10_mlperf_tiny.pt", **plain),
        "mobilenet_v1_0.25": lambda: Candidate(
            given.MobileNetV1(), name, weights / "mobilenet_v1_0.25_128_imagenet_fp16.pt", **centred
        ),
        "mobilenetv2_100": lambda: Candidate(
            "timm:mobilenetv2_100",
            name,
            weights / "mobilenetv2_100_imagenet_fp16.safetensors",
            ("pad_type=same",),
            **centred,
        ),
        "squeezenet1_0": lambda: Candidate(
            "torchvision:squeezenet1_0",
            name,
            weights / "squeezenet1_0_deepcompressed_imagenet_fp16.pt",
            size=SIDE,
        ),
    }
    return known[name]()


@cache
def _given(places: Places) -> ModuleType:
    spec = importlib.util.spec_from_file_location("given_nets", places.weights / "nets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parts(pair: Pair, size: int, places: Places) -> tuple[Task, Task]:
    """A few hundred training images, the same at every size, and at most `TEST_IMAGES` of the test split."""
    sized = Pair(pair.source, pair.target, size, pair.per_class, pair.mirror)
    train, test = targets(sized, places)
    few = np.linspace(0, len(test) - 1, min(len(test), TEST_IMAGES)).round().astype(np.int64)
    classes = train.num_classes
    return alone(drawn(train, max(IMAGES // classes, 5), pair, 0)), test.take(few)


def measured(name: str, pair: Pair, places: Places) -> dict[str, object]:
    """Scores of one candidate on one target, and what it is worth there."""
    began = time.perf_counter()
    net = load(candidate(name, places))
    train, test = parts(pair, net.input.size, places)
    split = make_folds(train.targets, np.arange(len(train)), FOLDS, seed_for(SEED, "folds"), classes=train.classes)
    bank = FeatureBank()
    found = score(name, net, train, split, bank, seed=SEED, loading=0.0)
    row: dict[str, object] = {"target": pair.target, "candidate": name, "images": len(train), "classes": train.num_classes}
    row |= {measure: round(one["value"], 6) for measure, one in found.scores.items() if measure in MEASURES}
    net.heads.clear()
    for way in WAYS:
        row[f"test_{way}"] = round(worth(net, train, test, way, pair.mirror, bank), 5)
    return row | {"seconds": round(time.perf_counter() - began, 2)}


def worth(net: Net, train: Task, test: Task, way: str, mirror: bool, bank: FeatureBank) -> float:
    """Test accuracy after adapting a copy of `net`: by the probe at the depth that cross-validates best, or by LP-FT."""
    arms = all_arms(net, base_recipe(net, len(train), mirror=mirror, class_weights=False), seed=SEED)
    arm = next(one for one in arms if one.name == ("early_probe_best" if way == "probe" else way))
    arm, mine = with_epochs(arm, EPOCHS), copy.deepcopy(net)
    Drive(mine, SEED, Machine(), None, bank).run(STRATEGIES[arm.strategy](mine, train, arm.config))
    return float((answers(mine, test).argmax(1) == test.targets).mean())


def chosen(pair: Pair, places: Places, budget: str) -> dict[str, object]:
    """What `headstart select` makes of the same training images."""
    began = time.perf_counter()
    train, _ = parts(pair, SIDE, places)
    images = np.ascontiguousarray(train.store.array)
    labels = np.array(train.classes)[train.targets]
    with tempfile.TemporaryDirectory(prefix="headstart-select-") as folder:
        result = headstart.select(
            (images, labels),
            [candidate(name, places) for name in CANDIDATES],
            out=Path(folder) / "run",
            folds=FOLDS,
            budget=budget,
            mirror=pair.mirror,
            test_fraction=0.02,
            device="cpu",
        )
    row = {"target": pair.target, "candidate": SELECT, "images": len(train), "classes": train.num_classes}
    return row | {"seconds": round(time.perf_counter() - began, 2), "chosen": result.chosen}


def rows_of(path: Path) -> list[dict[str, str]]:
    """What the table holds so far."""
    if not path.exists():
        return []
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def fill(out: Path, places: Places, pairs: Sequence[Pair], budget: str, until: float) -> bool:
    """Carry out what is missing until the clock says `until`; whether everything is there."""
    done = {(row["target"], row["candidate"]) for row in rows_of(out)}
    cells = [(pair, name) for names in (CANDIDATES, (SELECT,)) for pair in pairs for name in names]
    for pair, name in cells:
        if (pair.target, name) in done:
            continue
        if time.monotonic() > until:
            return False
        row = chosen(pair, places, budget) if name == SELECT else measured(name, pair, places)
        append(out, COLUMNS, row)
        print(f"{pair.target}, {name}: {row['seconds']} s", flush=True)
    return True


def regrets(rows: list[dict[str, str]]) -> dict[str, dict[str, float]]:
    """Per measure, and for `select`: target -> how far its favourite's worth lies below the best candidate's.

    Only targets on which every candidate was measured. A candidate without the measure is nobody's favourite; a measure that
    none has is left out there.
    """
    found: dict[str, dict[str, float]] = {}
    for target in dict.fromkeys(row["target"] for row in rows):
        here = {row["candidate"]: row for row in rows if row["target"] == target}
        if not set(CANDIDATES) <= set(here):
            continue
        value = {name: max(float(here[name][f"test_{way}"]) for way in WAYS) for name in CANDIDATES}
        best = max(value.values())
        for measure in MEASURES:
            there = {name: float(here[name][measure]) for name in CANDIDATES if here[name][measure]}
            if there:
                found.setdefault(measure, {})[target] = best - value[max(there, key=lambda name: there[name])]
        if SELECT in here:
            found.setdefault(SELECT, {})[target] = best - value[here[SELECT]["chosen"]]
        found.setdefault("random", {})[target] = best - sum(value.values()) / len(value)
    return found


def table(rows: list[dict[str, str]]) -> str:
    """Mean regret in points, its interval over targets, and the worst target; least first."""
    lines = ["| favourite of | mean regret | 95 % interval | worst | targets |", "|---|---|---|---|---|"]
    for name, by_target in sorted(regrets(rows).items(), key=lambda item: sum(item[1].values()) / len(item[1])):
        values = [100 * value for value in by_target.values()]
        low, high = (values[0],) * 2 if len(values) < 2 else _ends(values)
        worst = max(by_target, key=lambda target: by_target[target])
        lines.append(
            f"| {name} | {np.mean(values):.2f} | {low:.2f} to {high:.2f} | {max(values):.1f} ({worst}) | {len(values)} |"
        )
    return "\n".join(lines)


def _ends(values: list[float]) -> tuple[float, float]:
    found = bootstrap_mean(values, SEED, method="percentile")
    return found.low, found.high


def write_page(page: Path, found: str) -> None:
    """Put the table in its place on the page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->")
    if not (mark and end):
        raise SystemExit(f"{page} has no <!-- table --> and <!-- end of table -->")
    page.write_text(f"{before}{mark}{found}\n{end}{after}", encoding="utf-8")


def main() -> int:
    """Parse, fill the table, print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.select", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "select.csv")
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "headstart-grid", help="for resuming")
    parser.add_argument("--only", nargs="*", default=[], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--budget", default="120s", help="of the race in `headstart select`")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long; the same command goes on")
    parser.add_argument("--page", type=Path, help="write the table into this page too, between its <!-- table --> marks")
    parser.add_argument("--table", action="store_true", help="print what is there and do nothing else")
    args = parser.parse_args()
    torch.set_num_threads(1)
    whole = True
    if not args.table:
        places = Places(args.data, args.weights, args.kept)
        args.kept.mkdir(parents=True, exist_ok=True)
        pairs = [pair for name, pair in TARGETS.items() if not args.only or name in args.only]
        whole = fill(args.out, places, pairs, args.budget, time.monotonic() + 60 * args.minutes)
    found = table(rows_of(args.out))
    print(found)
    if args.page:
        write_page(args.page, found)
    return 0 if whole else 3


if __name__ == "__main__":
    sys.exit(main())
