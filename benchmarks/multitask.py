"""Multi-task learning on real data: does sharing pay where labels are scarce, do weightings beat the plain sum?

    python -m benchmarks.multitask DATA [--only EXPERIMENT ...] [--seeds 3] [--work FOLDER] [--out benchmarks/multitask.csv]

DATA is a folder with mnist.npz, cifar100_sub/ and bccd/. Most experiments train a small network (ResNet-8 from scratch, SGD
at 0.1 with weight decay 5e-4, shifts as augmentation, 20 epochs, up to 60 for few images): the plain sum, a network for each
task in as many steps, and what the experiment is about; three seeds, each with its own initial weights, over the same test
images. Finished runs are kept in the work folder, so that the same command goes on where it stopped.

    scarce      MNIST: digit, parity, greater than four, asked of 100, 300 and 1 000 images
    apart       the same 300 images, each labelled for one of the three questions only
    few         1 000 images whose digit is known, 100 of them labelled for the other two questions
    missing     the same 1 000 images: all labels, and half of them left out at random
    composites  MultiMNIST (two digits on top of each other), 1 000 images: towers and cross-stitch units too
    weightings  MultiMNIST, 1 000 images: the plain sum against DWA, uncertainty, GradNorm, PCGrad, MGDA
    cifar100    class and superclass, 4 000 images: the embedded backbone, fine-tuned
    bccd        blood cells, 292 images and 72 to test on: platelets there? how many red cells? Its size decides nothing
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.rows import append
from headstart.catalog.sharing import PULL, SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.catalog.weightings import WEIGHTINGS
from headstart.data.mix import mix_of
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, YES_NO, Task, task_of
from headstart.engine.fit import Machine
from headstart.engine.log import RunLog
from headstart.metrics.multitask import difference
from headstart.nets.build import build
from headstart.nets.net import Net
from headstart.seeding import generator
from headstart.studies.multitask_arms import stages_of
from headstart.studies.multitask_judged import Judge, alone_of, main_measure
from headstart.studies.multitask_runs import Arm, Run, Runs, single_name

COLUMNS = ("experiment", "what", "arm", "against", "task", "measure", "value", "mean", "low", "high", "decided", "seeds")
RECIPE = Recipe(epochs=20, batch_size=32, lr=0.1, mirror=False)
COMPARED = ("dwa", "uncertainty", "gradnorm", "pcgrad", "mgda")


@dataclass(frozen=True)
class Setting:
    """One experiment: tasks to learn and to be judged on, over one store each, and the arms beside the usual ones."""

    name: str
    train: Mapping[str, Task]
    test: Mapping[str, Task]
    base: Callable[[int], Net]
    arms: Callable[[Net, tuple[str, ...], SharingConfig], list[Arm]] = lambda net, names, shared: []
    config: SharingConfig = field(default_factory=lambda: SharingConfig(RECIPE, scale=1.0, watch=False))
    alone: bool = True


# ----------------------------------------------------------------------------------------------------------------- data


@cache
def mnist(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of mnist.npz."""
    with np.load(folder / "mnist.npz") as file:
        return {name: file[name] for name in file.files}


def multimnist(folder: Path, split: str, count: int) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]]]:
    """Two digits on a canvas of 36 pixels, one at the corner, one 6 to 8 further, the brighter counts; reduced to 28."""
    arrays = mnist(folder)
    images, labels = arrays[f"images_{split}"], arrays[f"labels_{split}"].astype(np.int64)
    draw = generator(0, "multimnist", split)
    pairs = draw.integers(0, len(images), (count, 2))
    places = draw.integers(6, 9, (count, 2))
    made = np.zeros((count, 28, 28, 3), np.uint8)
    for number, ((one, other), (down, right)) in enumerate(zip(pairs, places, strict=True)):
        canvas = np.zeros((36, 36), np.uint8)
        canvas[:28, :28] = images[one]
        part = canvas[down : down + 28, right : right + 28]
        np.maximum(part, images[other], out=part)
        made[number] = np.asarray(Image.fromarray(canvas).resize((28, 28), Image.Resampling.BILINEAR))[..., None]
    return made, {"left": labels[pairs[:, 0]], "right": labels[pairs[:, 1]]}


def digits(folder: Path, count: int, **more: Any) -> Setting:
    """Composites: which digit is left, which right."""
    classes, parts = tuple(map(str, range(10))), {}
    for split, size in (("train", count), ("test", 2000)):
        images, labels = multimnist(folder, split, size)
        store = store_of(images)
        parts[split] = {key: task_of(key, store, value, classes) for key, value in labels.items()}
    return Setting(f"{count} composites", parts["train"], parts["test"], small, **more)


def questions(folder: Path, count: int, labels: str = "all labels", **more: Any) -> Setting:
    """One digit and three questions about it; `labels`: all, half of them, one per image, or few of two questions."""
    arrays, parts = mnist(folder), {}
    for split, size in (("train", count), ("test", 2000)):
        images = np.repeat(arrays[f"images_{split}"][:size, ..., None], 3, 3)
        y, store = arrays[f"labels_{split}"][:size].astype(np.int64), store_of(images)
        answers = np.stack([y, y % 2, (y > 4).astype(np.int64)])
        if split == "train" and labels == "half the labels":
            answers[generator(0, "missing", count).random(answers.shape) < 0.5] = UNKNOWN
        if split == "train" and labels == "one label each":
            answers[np.arange(3)[:, None] != generator(0, "one", count).integers(0, 3, size)] = UNKNOWN
        if split == "train" and labels == "few labels":
            answers[1:, 100:] = UNKNOWN
        parts[split] = {
            "digit": task_of("digit", store, answers[0], tuple(map(str, range(10)))),
            "odd": task_of("odd", store, answers[1], YES_NO, "yes_no"),
            "above_four": task_of("above_four", store, answers[2], YES_NO, "yes_no"),
        }
    recipe = replace(RECIPE, epochs=min(60, max(RECIPE.epochs, 600 * RECIPE.batch_size // count)))
    config = SharingConfig(recipe, scale=1.0, watch=False)
    return Setting(f"{count} images, {labels}", parts["train"], parts["test"], small, config=config, **more)


def cifar100(folder: Path) -> Setting:
    """Class and superclass."""
    place = folder / "cifar100_sub"
    with (place / "fine_to_coarse.csv").open(newline="", encoding="utf-8") as file:
        coarse = {row[0]: row[1] for row in list(csv.reader(file))[1:]}
    classes, groups = tuple(sorted(coarse)), tuple(sorted(set(coarse.values())))
    parts = {}
    for split in ("train", "test"):
        files = sorted((place / split).glob("*/*"))
        images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in files])
        names = [path.parent.name for path in files]
        store = store_of(images)
        fine = np.array([classes.index(name) for name in names])
        above = np.array([groups.index(coarse[name]) for name in names])
        parts[split] = {
            "fine": task_of("fine", store, fine, classes),
            "superclass": task_of("superclass", store, above, groups),
        }
    config = SharingConfig(replace(RECIPE, mirror=True, batch_size=64, epochs=10), scale=0.1, watch=False)
    return Setting("cifar100", parts["train"], parts["test"], lambda seed: _headless(build("embedded")), config=config)


def bccd(folder: Path) -> Setting:
    """Blood cells: are there platelets, how many red cells."""
    place = folder / "bccd"
    with (place / "labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts = {}
    for split in ("train", "test"):
        mine = [row for row in rows if row["split"] == split]
        images = np.stack([_square(place / "images" / row["file"]) for row in mine])
        store = store_of(images)
        platelets = np.array([int(row["n_Platelets"]) > 0 for row in mine]).astype(np.int64)
        red = np.array([float(row["n_RBC"]) for row in mine], np.float32)
        parts[split] = {
            "platelets": task_of("platelets", store, platelets, YES_NO, "yes_no"),
            "red_cells": task_of("red_cells", store, red, (), "number"),
        }
    config = SharingConfig(replace(RECIPE, mirror=True, batch_size=16), scale=0.1, watch=False)
    return Setting("bccd", parts["train"], parts["test"], lambda seed: _headless(build("embedded", size=64)), config=config)


def _square(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR))


def small(seed: int) -> Net:
    """ResNet-8 for 28 pixels with weights drawn for this seed."""
    return _headless(build("headstart:resnet8", size=28, pretrained=False, seed=seed))


def _headless(net: Net) -> Net:
    net.heads.clear()
    return net


# ---------------------------------------------------------------------------------------------------------- experiments


def settings(folder: Path) -> dict[str, Callable[[], list[Setting]]]:
    """The experiments by name; nothing is read before one is asked for."""

    def weighed(net: Net, names: tuple[str, ...], shared: SharingConfig) -> list[Arm]:
        # Weights of whole gradients add up to about one: scaled to the number of tasks, all arms learn at one rate.
        config = {one: WEIGHTINGS[one].config for one in COMPARED}
        config |= {one: replace(c, normalise=True) for one, c in config.items() if WEIGHTINGS[one].family == "by gradients"}
        return [Arm(one, "asked", names, replace(shared, weighting=one, weighting_settings=config[one])) for one in COMPARED]

    def towers(net: Net, names: tuple[str, ...], shared: SharingConfig) -> list[Arm]:
        return [
            Arm("soft", "asked", names, replace(shared, pull=PULL), "soft"),
            Arm("cross-stitch", "asked", names, shared, "cross_stitch", 0, stages_of(net)),
        ]

    return {
        "scarce": lambda: [questions(folder, count) for count in (100, 300, 1000)],
        "apart": lambda: [questions(folder, 300, "one label each")],
        "few": lambda: [questions(folder, 1000, "few labels")],
        "missing": lambda: [questions(folder, 1000), questions(folder, 1000, "half the labels", alone=False)],
        "composites": lambda: [digits(folder, 1000, arms=towers)],
        "weightings": lambda: [digits(folder, 1000, arms=weighed, alone=False)],
        "cifar100": lambda: [cifar100(folder)],
        "bccd": lambda: [bccd(folder)],
    }


def carried_out(setting: Setting, work: Path, seeds: Sequence[int]) -> tuple[Runs, list[Arm]]:
    """The runs of one setting; what was done before is not done again."""
    mix = mix_of("tasks", list(setting.train.values()))
    names = tuple(mix.tasks)
    steps = setting.config.recipe.epochs * -(-len(mix) // setting.config.recipe.batch_size)
    alone = [Arm(single_name(name), "single", (name,), replace(setting.config, steps=steps)) for name in names]
    plain = Arm("sum", "sum", names, setting.config)
    arms = [*(alone if setting.alone else []), plain, *setting.arms(setting.base(0), names, setting.config)]
    place = work / setting.name.replace(" ", "-")
    place.mkdir(parents=True, exist_ok=True)
    runs = Runs(setting.base, mix, {"test": setting.test}, Machine(), place, RunLog(place / "log.jsonl"))
    for seed in seeds:
        for run in (Run(arm, seed) for arm in arms):
            if not runs.done(run):
                runs.carry_out(run)
                print(f"{setting.name}: {run}, {runs.seen(run)['seconds']:.0f} s", flush=True)
    return runs, arms


def results(setting: Setting, runs: Runs, arms: Sequence[Arm], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Values of every arm, differences from the tasks' own networks and from the plain sum, and mean relative changes."""
    judge, alone = Judge(runs, "test", seeds, 0), alone_of(arms)
    plain = next(arm for arm in arms if arm.name == "sum")
    for arm in arms:
        for name in arm.tasks:
            measure = main_measure(judge.task(name).kind)
            found = judge.measures(arm, name)[measure]
            yield {"what": "value", "arm": arm.name, "task": name, "measure": measure, **found, "value": found["mean"]}
            for other in (alone.get(name), plain):
                if arm.role != "single" and other is not None and other is not arm:
                    gap = judge.difference(arm, other, name)
                    assert gap is not None
                    row = {key: gap[key] for key in ("mean", "low", "high", "decided", "measure")}
                    yield {"what": "difference", "arm": arm.name, "against": other.name, "task": name, **row}
        others = alone if arm.role != "single" and alone else None
        for label, against in (("its own networks", others), ("sum", dict.fromkeys(arm.tasks, plain))):
            if against and arm.role != "single" and arm is not against.get(arm.tasks[0]):
                delta = judge.delta(arm, against)
                assert delta is not None
                yield {"what": "delta_m", "arm": arm.name, "against": label, "task": "all", **delta}


def across(first: tuple[Runs, Arm], second: tuple[Runs, Arm], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """One arm on two sets of training labels, on the same test images."""
    one, other = (Judge(runs, "test", seeds, 0) for runs, _ in (first, second))
    for name in first[1].tasks:
        measure = main_measure(one.task(name).kind)
        sides = (one.answers(first[1], name, measure), other.answers(second[1], name, measure))
        gap = difference(measure, one.labels(name), sides[0], sides[1], 0)
        row = {"mean": gap.mean, "low": gap.low, "high": gap.high, "decided": gap.decided, "measure": measure}
        yield {"what": "difference", "arm": first[1].name, "against": "all labels", "task": name, **row}


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with mnist.npz, cifar100_sub/ and bccd/")
    parser.add_argument("--only", nargs="*", default=[], help="experiments")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "headstart-multitask")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/multitask.csv"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    seeds, every = list(range(args.seeds)), settings(args.data)
    for name in args.only or every:
        done = []
        for setting in every[name]():
            runs, arms = carried_out(setting, args.work, seeds)
            done.append((runs, next(arm for arm in arms if arm.name == "sum")))
            _write(args.out, f"{name}: {setting.name}", results(setting, runs, arms, seeds), len(seeds))
        if name == "missing":
            _write(args.out, "missing", across(done[1], done[0], seeds), len(seeds))


def _write(path: Path, experiment: str, rows: Iterator[dict[str, Any]], seeds: int) -> None:
    for row in rows:
        row |= {"experiment": experiment, "seeds": seeds}
        numbers = {key: f"{value:.4f}" for key, value in row.items() if isinstance(value, float)}
        append(path, COLUMNS, {key: {**row, **numbers}.get(key, "") for key in COLUMNS})
        if row["what"] != "value":
            told = f"{row['mean']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
            print(f"{experiment}: {row['arm']} against {row['against']}, {row['task']}: {told}", flush=True)


if __name__ == "__main__":
    main()
