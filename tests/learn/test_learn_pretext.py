"""The direction of the papers on small real data: made-up questions teach features that the untrained network lacks.

Rotation on scikit-learn's digits at 16 px. Judged is the same network before and after: a linear probe with few labels on
its best block, chosen by cross-validation of those labels, on images that nobody learned from.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from headstart.catalog.pretext import RotationConfig
from headstart.catalog.pretraining import Schooling
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


@cache
def parts() -> tuple[Task, Task, Task]:
    """Images without labels to learn from (two thirds), ten labels per class of them, and the last third to be judged on."""
    found = load_digits()
    labels = found.target.astype(np.int64)
    grey = [Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)) for image in found.images]
    pixels = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for one in grey])
    store, names = store_of(np.repeat(pixels[..., None], 3, 3)), tuple(str(digit) for digit in range(10))
    order = np.random.default_rng(0).permutation(len(labels))
    judged, learned = order[: len(order) // 3], order[len(order) // 3 :]
    few = np.concatenate([learned[labels[learned] == digit][:FEW] for digit in range(10)])
    unknown = np.full(len(labels), UNKNOWN)
    return (
        Task("digits", store, unknown, names, np.sort(learned)),
        Task("digits", store, labels, names, np.sort(few)),
        Task("digits", store, labels, names, np.sort(judged)),
    )


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


def test_rotation_beats_the_untrained_network() -> None:
    gains = []
    for seed in SEEDS:
        net = fresh(seed)
        school = Schooling(epochs=15, batch_size=64, seed=seed)
        Drive(net, seed=seed).run(PRETRAIN["rotation"](net, parts()[0], RotationConfig(school)))
        before, after = accuracy(fresh(seed), seed), accuracy(net, seed)
        print(f"rotation, seed {seed}: {before:.3f} untrained, {after:.3f} after")
        gains.append(after - before)
    assert min(gains) > 0
    assert np.mean(gains) > 0.02
