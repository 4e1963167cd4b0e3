"""What early stopping watches is not learned from by any part of a strategy; and heads that a strategy may have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.catalog.strategies import EarlyProbeConfig, FullConfig, LpftConfig, Recipe
from headstart.engine.fit import FitResult
from headstart.engine.log import RunLog, read_lines
from headstart.engine.run import Drive
from headstart.engine.solve import SolveResult
from headstart.stage import Solve, Stage
from headstart.strategies.early_probe import early_probe
from headstart.strategies.full import full
from headstart.strategies.lpft import lpft
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import perceptron, resnet


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


def test_a_class_of_two_is_left_whole_to_the_probe() -> None:
    net, task = perceptron(), make_vector_task(62)
    few = task.take(np.concatenate([np.flatnonzero(task.targets < 2), np.flatnonzero(task.targets == 2)[:2]]))
    probe, _ = Drive(net).run(lpft(net, few, LpftConfig(recipe=Recipe(epochs=1, patience=1))))
    assert isinstance(probe, SolveResult)


@pytest.mark.parametrize("groups", [None, 3])
def test_where_nothing_can_be_spared_there_is_no_early_stopping(tmp_path: Path, groups: int | None) -> None:
    """Three pictures of three classes, or a class in one group each: all are learned from, to the end, and it is said."""
    task = make_vector_task(3 if groups is None else 30)
    task = replace(task, groups=None if groups is None else np.arange(30, dtype=np.int64) % groups)
    net, log = perceptron(), RunLog(tmp_path / "log.jsonl")
    (fitted,) = Drive(net, log=log).run(full(net, task, FullConfig(Recipe(epochs=3, patience=1))))
    assert isinstance(fitted, FitResult)
    assert fitted.steps == 3
    (said,) = [line["text"] for line in read_lines(log.path) if line["event"] == "warning"]
    assert "without early stopping it trains to its end" in said


@pytest.mark.parametrize("depth", ["layer2_0", "best", "all"])
def test_an_early_head_may_be_an_svm(depth: str) -> None:
    net, task = resnet(), make_image_task(36, size=12)
    (found,) = Drive(net).run(early_probe(net, task, EarlyProbeConfig(depth, head="svm", folds=2)))
    assert isinstance(found, SolveResult)
    assert set(found.reads) <= set(net.block_names)
    assert (depth in ("best", "all")) or found.reads == [depth]
    assert max(found.tried.values()) > 0.6
    assert net.head(task.name).calibration[0] != 1  # an SVM's margins are no logits
