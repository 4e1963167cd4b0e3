"""The direction of the papers on small real data: images against themselves alone teach features that classes need.

scikit-learn's digits at 16 px without labels, judged as rotation is (`test_learn_pretext`): the same network before and
after, by a linear probe with ten labels per class on its best block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from headstart.catalog.pretraining import Schooling
from headstart.catalog.self_supervision import BarlowConfig, ByolConfig, DeepClusterConfig, SwavConfig, VicregConfig
from headstart.engine.run import Drive
from headstart.strategies.pretrain import PRETRAIN
from tests.learn.test_learn_pretext import accuracy, fresh, parts

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
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
