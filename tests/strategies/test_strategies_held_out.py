"""What early stopping watches is not learned from by any part of a strategy; and heads that a strategy may have."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.catalog.strategies import EarlyProbeConfig, LpftConfig, Recipe
from headstart.engine.run import Drive
from headstart.engine.solve import SolveResult
from headstart.stage import Solve, Stage
from headstart.strategies.early_probe import early_probe
from headstart.strategies.lpft import lpft
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet


def test_the_probe_before_fine_tuning_does_not_see_what_is_watched() -> None:
    task = make_image_task(60, size=12)
    probe, tune = lpft(resnet(), task, LpftConfig(recipe=Recipe(patience=2, class_weights=True)))
    assert isinstance(probe, Solve)
    assert isinstance(tune, Stage)
    assert probe.task is not None
    assert tune.task is not None
    np.testing.assert_array_equal(probe.task.rows, tune.task.rows)
    assert 0 < len(set(task.rows) - set(probe.task.rows)) < len(task.rows) / 4
    whole, _ = lpft(resnet(), task, LpftConfig())
    assert isinstance(whole, Solve)
    np.testing.assert_array_equal(whole.task.rows, task.rows)


@pytest.mark.parametrize("depth", ["layer2_0", "best", "all"])
def test_an_early_head_may_be_an_svm(depth: str) -> None:
    net, task = resnet(), make_image_task(36, size=12)
    (found,) = Drive(net).run(early_probe(net, task, EarlyProbeConfig(depth, head="svm", folds=2)))
    assert isinstance(found, SolveResult)
    assert set(found.reads) <= set(net.block_names)
    assert (depth in ("best", "all")) or found.reads == [depth]
    assert max(found.tried.values()) > 0.6
    assert net.head(task.name).calibration[0] != 1  # an SVM's margins are no logits
