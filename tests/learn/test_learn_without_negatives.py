"""The direction of the papers on small real data: images against themselves alone teach features that classes need.

scikit-learn's digits at 16 px without labels. Judged is the same network before and after: a linear probe with ten labels
per class on its best block, chosen by cross-validation of those labels, on images that nobody learned from.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.catalog.pretraining import Schooling
from headstart.catalog.self_supervision import BarlowConfig, ByolConfig, DeepClusterConfig, SwavConfig, VicregConfig
from headstart.data.store import store_of
from headstart.data.task import UNKNOWN, Task
from headstart.engine.evaluate import answers
from headstart.engine.run import Drive
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import cifar_resnet
from headstart.stage import Solve
from headstart.strategies.pretrain import PRETRAIN

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
SIDE, FEW = 16, 10
SEEN = "crop(0.4, 1.0) jitter(0.4, 0.4, 0.4, 0.1, p=0.8)"
"""Digits are not to be mirrored."""


def school(seed: int, epochs: int, **more: Any) -> Schooling:
    return Schooling(epochs=epochs, batch_size=64, seed=seed, **more)


CONFIGS: dict[str, Callable[[int], Any]] = {
    "byol": lambda seed: ByolConfig(school(seed, 15, lr=0.1), SEEN, dimensions=64, hidden=256, momentum=0.9),
    "barlow": lambda seed: BarlowConfig(school(seed, 10), SEEN, dimensions=256),
    "vicreg": lambda seed: VicregConfig(school(seed, 10), SEEN, dimensions=256),
    "deepcluster": lambda seed: DeepClusterConfig(school(seed, 10), SEEN, every=2),
    "swav": lambda seed: SwavConfig(school(seed, 12, lr=0.2), SEEN, prototypes=32, hidden=256),
}


@cache
def parts() -> tuple[Task, Task, Task]:
    """Two thirds to learn from without labels, ten labels per class of them, and the last third to be judged on."""
    found = load_digits()
    labels, names = found.target.astype(np.int64), tuple(str(digit) for digit in range(10))
    grey = [Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)) for image in found.images]
    pixels = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in grey])
    store = store_of(pixels)
    order = np.random.default_rng(0).permutation(len(labels))
    judged, learned = order[: len(order) // 3], order[len(order) // 3 :]
    few = np.concatenate([learned[labels[learned] == digit][:FEW] for digit in range(10)])
    unknown = np.full(len(labels), UNKNOWN)
    known = [Task("digits", store, labels, names, np.sort(rows)) for rows in (few, judged)]
    return Task("digits", store, unknown, names, np.sort(learned)), known[0], known[1]


def fresh(seed: int) -> Net:
    with forked(seed):
        return cifar_resnet(8, 8, SIDE)


def accuracy(net: Net, seed: int) -> float:
    """Of a linear probe on the best block."""
    _, few, judged = parts()
    net.add_head("digits", 10)
    reads = tuple((name,) for name in net.block_names)
    Drive(net, seed=seed).run([Solve("probe", few, "digits", reads=reads, penalty=(1e-4, 1e-3, 1e-2, 1e-1), folds=3)])
    return float((answers(net, judged, "digits").argmax(1) == judged.targets).mean())


@pytest.mark.parametrize("name", CONFIGS)
def test_it_beats_the_untrained_network(name: str) -> None:
    gains = []
    for seed in SEEDS:
        net = fresh(seed)
        Drive(net, seed=seed).run(PRETRAIN[name](net, parts()[0], CONFIGS[name](seed)))
        before, after = accuracy(fresh(seed), seed), accuracy(net, seed)
        print(f"{name}, seed {seed}: {before:.3f} untrained, {after:.3f} after")
        gains.append(after - before)
    assert min(gains) > 0
    assert np.mean(gains) > 0.02
