"""Network expansion: old answers to the bit, what trains, and a model that grew, was saved, and grows on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.continual import ExpandConfig, Learn
from headstart.catalog.strategies import Recipe
from headstart.engine.evaluate import answers
from headstart.errors import ConfigError
from headstart.nets.columns import COLUMNS, columns_of, growth
from headstart.nets.saved import load_net, save_net
from headstart.stage import Stage, Train
from headstart.strategies.continual.expand import expand
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import LEARN, Case, accuracy_of, increment, sequence

KINDS = ["images", "vectors"]
NORMS: tuple[Any, ...] = ("frozen", "train")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["copy", "fresh"])
def test_answers_of_earlier_tasks_are_equal_to_the_bit_after_later_ones(kind: str, start: Any) -> None:
    case, config = Case("expand", kind, "task"), ExpandConfig(replace(LEARN, norm="train"), start=start)
    net, past = case.net(), case.past()
    said: list[np.ndarray] = []
    for number in range(3):
        increment(case, net, past, number, config=config)
        said.append(answers(net, case.task(number), f"task{number}"))
    for number, before in enumerate(said):
        assert np.array_equal(answers(net, case.task(number), f"task{number}"), before)
    grown = columns_of(net)
    assert grown is not None
    assert len(grown) == 3
    width = net.head("task0").linear.in_features
    assert [net.head(f"task{number}").linear.in_features for number in range(3)] == [width, 2 * width, 3 * width]


def test_only_the_new_column_and_the_new_head_train() -> None:
    case = Case("expand", "images", "task")
    net, past = sequence(case, 2)
    (warm_up, made) = list(expand(net, case.task(2), ExpandConfig(LEARN, warmup_epochs=1), past=past))
    assert isinstance(warm_up, Stage)
    assert isinstance(made, Stage)
    assert set(warm_up.trains) == {"heads.task2"}
    assert set(made.trains) == {"blocks.columns.2", "heads.task2"}
    rule = made.trains["blocks.columns.2"]
    assert rule == Train(0.5, norm="frozen")


def test_a_column_moves_and_with_statistics_of_its_own_where_asked() -> None:
    case = Case("expand", "images", "task")
    for norm in NORMS:
        # Statistics as drawn beside trained biases would look like normalisation that was folded away.
        net, past = sequence(case, 1, config=ExpandConfig(replace(LEARN, norm="train")))
        increment(case, net, past, 1, config=ExpandConfig(replace(LEARN, norm=norm)))
        old, new = (state(net.blocks[COLUMNS].get_submodule(str(number))) for number in (0, 1))
        moved = differing(old, new)
        assert "layer3_0.conv1.weight" in moved
        assert ("layer3_0.bn1.running_mean" in moved) == (norm == "train")


def test_fresh_columns_of_different_tasks_differ_and_follow_the_seed() -> None:
    case = Case("expand", "vectors", "task")
    found = []
    for seed in (0, 0, 1):
        net, past = case.net(), case.past(seed)
        increment(case, net, past, 0)
        list(expand(net, case.task(1), ExpandConfig(LEARN, start="fresh"), past=past))
        found.append(state(net))
    assert not differing(found[0], found[1])
    assert differing(found[0], found[2])


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_grows_on_to_the_bit(kind: str, tmp_path: Path) -> None:
    case = Case("expand", kind, "task")
    net, past = sequence(case, 2)
    save_net(net, tmp_path)
    again = load_net(tmp_path)
    other, known = sequence(case, 2)
    increment(case, again, known, 2)
    increment(case, net, past, 2)
    assert not differing(state(net), state(again))
    assert growth(again) == growth(net)
    assert not differing(state(sequence(case, 3)[0]), state(again))
    assert list(other.heads) == ["task0", "task1"]


def test_it_learns_the_new_task_and_keeps_the_old() -> None:
    case = Case("expand", "vectors", "task")
    learn = Learn(Recipe(epochs=20, batch_size=16, lr=0.1, augment=False), scale=1.0)
    net, _ = sequence(case, 3, config=ExpandConfig(learn))
    for number in range(3):
        assert accuracy_of(net, case.task(number), f"task{number}") > 0.9


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (ExpandConfig(replace(LEARN, top=1)), "top=1"),
        (ExpandConfig(replace(LEARN, scale=0.0)), "scale=0.0"),
        (ExpandConfig(LEARN, first="nowhere"), "no block 'nowhere'"),
        (ExpandConfig(LEARN, warmup_epochs=-1), "warmup_epochs=-1"),
        (ExpandConfig(LEARN, start="other"), "neither copy nor fresh"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_cannot_be_are_said_and_change_nothing(config: ExpandConfig, named: str) -> None:
    case = Case("expand", "vectors", "task")
    net = case.net()
    before = state(net)
    with pytest.raises(ConfigError, match=named):
        next(expand(net, case.task(0), config, past=case.past()))
    assert not differing(state(net), before)


def test_columns_begin_where_they_began() -> None:
    case = Case("expand", "images", "task")
    net, past = sequence(case, 2, config=ExpandConfig(LEARN, first="layer3_0"))
    with pytest.raises(ConfigError, match="from block 'layer3_0' on"):
        next(expand(net, case.task(2), ExpandConfig(LEARN, first="layer2_0"), past=past))
    increment(case, net, past, 2, config=ExpandConfig(LEARN))
    assert growth(net) == [{"kind": "column", "first": "layer3_0"}] * 2
    assert torch.isfinite(torch.from_numpy(answers(net, case.task(2), "task2"))).all()
