"""A solved head: nothing old moves, it learns, and it reads the depth that was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headstart.catalog.continual import NewHeadConfig
from headstart.engine.run import Drive
from headstart.errors import ConfigError
from headstart.nets.grow import add_column
from headstart.stage import Solve
from headstart.strategies.continual.new_head import new_head
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import LEARN, Case, accuracy_of, increment, sequence

FEW: dict[str, Any] = {"penalties": (1e-3, 1e-1), "folds": 2}


def solved(case: Case, config: NewHeadConfig) -> Solve:
    (made,) = new_head(case.net(), case.task(0), config, past=case.past())
    return made


@pytest.mark.parametrize("kind", ["images", "vectors"])
@pytest.mark.parametrize("solver", ["logistic", "svm"])
def test_nothing_old_moves_and_the_new_task_is_learned(kind: str, solver: Any) -> None:
    case = Case("new_head", kind, "task")
    net, past = sequence(case, 2)
    before = state(net)
    increment(case, net, past, 2, config=NewHeadConfig(LEARN, solver=solver, **FEW))
    after = state(net)
    assert not differing(before, {name: after[name] for name in before})
    assert accuracy_of(net, case.task(2), "task2") > 0.8


@pytest.mark.parametrize(
    ("depth", "reads"),
    [
        ("last", ()),
        ("layer2_0", (("layer2_0",),)),
        ("all", (("stem", "layer1_0", "layer2_0", "pool"),)),
        ("best", (("stem",), ("layer1_0",), ("layer2_0",), ("pool",))),
    ],
)
def test_depths_to_read(depth: str, reads: Any) -> None:
    assert solved(Case("new_head", "images", "task"), NewHeadConfig(LEARN, depth=depth)).reads == reads


def test_the_head_reads_the_depth_that_was_chosen() -> None:
    case = Case("new_head", "images", "task")
    net, past = case.net(), case.past()
    (result,) = increment(case, net, past, 0, config=NewHeadConfig(LEARN, depth="layer1_0", **FEW))
    assert net.head("task0").reads == ("layer1_0",)
    (result,) = increment(case, net, past, 1, config=NewHeadConfig(LEARN, depth="best", **FEW))
    assert list(net.head("task1").reads) == result.reads  # type: ignore[union-attr]


def test_class_weights_are_the_recipe_s() -> None:
    case = Case("new_head", "vectors", "task")
    assert solved(case, NewHeadConfig(LEARN)).class_weights is None
    weighted = replace(LEARN, recipe=replace(LEARN.recipe, class_weights=True))
    weights = solved(case, NewHeadConfig(weighted)).class_weights
    assert weights is not None
    assert len(weights) == 3


def test_it_reads_all_columns_of_a_network_that_grew() -> None:
    case = Case("new_head", "images", "task")
    net, past = sequence(case, 1)
    add_column(net, "layer3_0", start="fresh", seed=1)
    Drive(net).run(new_head(net, case.task(1), NewHeadConfig(LEARN, **FEW), past=past))
    assert net.head("task1").linear.in_features == net.info["columns"].channels
    assert accuracy_of(net, case.task(1), "task1") > 0.8


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"depth": "layer9"}, "depth=layer9"),
        ({"penalties": ()}, "penalties="),
        ({"folds": 1}, "folds=1"),
        ({"solver": "ridge"}, "neither logistic nor svm"),
    ],
)
def test_settings_that_cannot_be(more: dict[str, Any], named: str) -> None:
    case = Case("new_head", "images", "task")
    net = case.net()
    with pytest.raises(ConfigError, match=named):
        next(new_head(net, case.task(0), NewHeadConfig(LEARN, **more), past=case.past()))
    assert not list(net.heads)
