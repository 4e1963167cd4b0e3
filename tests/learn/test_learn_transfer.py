"""The direction of the papers on small real data: what transfer is said to bring, it brings, over several seeds.

scikit-learn's digits at 32 px; the source is the embedded network, trained on CIFAR-10.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.catalog.strategies import EarlyProbeConfig, FullConfig, ProbeConfig, Recipe, RetrainConfig
from headstart.data.splits import split_off
from headstart.data.store import store_of
from headstart.data.task import Task, task_of
from headstart.engine.evaluate import accuracy
from headstart.engine.run import Drive
from headstart.nets.build import build
from headstart.nets.initialise import reinitialise
from headstart.strategies import STRATEGIES

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)
RECIPE = Recipe(epochs=12, batch_size=25, mirror=False)
CONFIGS = {
    "probe": ProbeConfig(penalties=(1e-3, 1e-2, 1e-1), folds=3),
    "early_probe": EarlyProbeConfig(penalties=(1e-3, 1e-2, 1e-1), folds=3),
    "full": FullConfig(RECIPE),
    "retrain": RetrainConfig(RECIPE),
}


@cache
def digits() -> Task:
    """All digits, each pixel four pixels wide."""
    found = load_digits()
    grey = np.rint(found.images * (255 / 16)).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    return task_of("digits", store_of(grey), found.target.astype(np.int64), tuple("0123456789"))


def photographs(folder: Path) -> tuple[Task, Task]:
    """A quarter of CIFAR-100's part to learn from and its test images, labelled by superclass."""
    with (folder / "fine_to_coarse.csv").open(newline="") as file:
        pairs = {row[0]: row[1] for row in list(csv.reader(file))[1:]}
    classes = tuple(sorted(set(pairs.values())))
    files = [*sorted(folder.glob("train/*/*"))[::4], *sorted(folder.glob("test/*/*"))]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    labels = np.array([classes.index(pairs[file.parent.name]) for file in files])
    task = task_of("photographs", store_of(pixels), labels, classes)
    known = np.array([file.parent.parent.name == "train" for file in files])
    return task.take(np.flatnonzero(known)), task.take(np.flatnonzero(~known))


@cache
def splits(per_class: int, seed: int) -> tuple[Task, Task]:
    """So many images of each digit to learn from, and 500 others to be judged on."""
    task = digits()
    rest, learn = split_off(task.targets, None, 10 * per_class / len(task), seed)
    return task.take(learn), task.take(np.random.default_rng(seed).permutation(rest)[:500])


@cache
def reached(strategy: str, per_class: int, seed: int, *, source: bool = True) -> float:
    """Test accuracy of a strategy from the embedded network, or from the same one with weights drawn anew."""
    learn, judge = splits(per_class, seed)
    net = build("embedded")
    net.heads.clear()
    if not source:
        reinitialise(net, net.block_names, seed)
    Drive(net, seed=seed).run(STRATEGIES[strategy](net, learn, CONFIGS[strategy]))
    return accuracy(net, judge)


def gains(better: list[float], worse: list[float]) -> np.ndarray:
    """Paired differences over seeds, printed."""
    found = np.array(better) - np.array(worse)
    print(np.round(better, 3), np.round(worse, 3), np.round(found, 3))
    return found


def test_fine_tuning_beats_retraining_on_little_data() -> None:
    """Yosinski et al. 2014, Kornblith et al. 2019: a source helps most where images are few."""
    found = gains([reached("full", 10, seed) for seed in SEEDS], [reached("retrain", 10, seed) for seed in SEEDS])
    assert (found > 0).all()
    assert found.mean() > 0.05


def test_the_gain_shrinks_with_more_data() -> None:
    few = gains([reached("full", 10, s) for s in SEEDS], [reached("retrain", 10, s) for s in SEEDS])
    many = gains([reached("full", 25, s) for s in SEEDS], [reached("retrain", 25, s) for s in SEEDS])
    assert many.mean() < few.mean()


def test_learned_features_beat_drawn_ones_where_the_target_is_like_the_source(shared_data: Callable[[str], Path]) -> None:
    """CIFAR-100's 20 superclasses. On digits it is the other way round: drawn features of the last block get more right."""
    learn, judge = photographs(shared_data("cifar100_sub"))
    found = []
    for seed in SEEDS:
        nets = [build("embedded"), build("embedded")]
        reinitialise(nets[1], nets[1].block_names, seed)
        for net in nets:
            net.heads.clear()
            Drive(net, seed=seed).run(STRATEGIES["probe"](net, learn, CONFIGS["probe"]))
        found.append([accuracy(net, judge) for net in nets])
    assert gains([a for a, _ in found], [b for _, b in found]).min() > 0.05


def test_reading_all_depths_helps_where_the_target_is_unlike_the_source() -> None:
    """Evci et al. 2022: digits are no photographs, and early features know their strokes."""
    found = gains([reached("early_probe", 10, s) for s in SEEDS], [reached("probe", 10, s) for s in SEEDS])
    assert found.mean() > 0


def test_fine_tuning_beats_the_frozen_network_where_the_target_is_unlike_the_source() -> None:
    found = gains([reached("full", 25, s) for s in SEEDS], [reached("probe", 25, s) for s in SEEDS])
    assert found.mean() > 0
