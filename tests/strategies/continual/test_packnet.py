"""PackNet: answers of earlier tasks stay to the bit, weights are claimed by share, and the room runs out aloud."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.catalog.continual import PacknetConfig
from headstart.engine.evaluate import answers
from headstart.engine.past import Learned
from headstart.errors import ConfigError
from headstart.nets.owners import prunable, with_owners
from headstart.stage import Stage, Train
from headstart.strategies.continual.packnet import packnet
from tests.engine.engine_toys import differing, state
from tests.strategies.continual.continual_toys import CONFIGS, LEARN, Case, increment, sequence


@pytest.mark.parametrize("kind", ["images", "vectors"])
def test_answers_of_earlier_tasks_are_equal_to_the_bit_after_later_ones(kind: str) -> None:
    case = Case("packnet", kind, "task")
    net, past = case.net(), case.past()
    said: list[np.ndarray] = []
    for number in range(3):
        increment(case, net, past, number)
        said.append(answers(with_owners(net, past.owners, number + 1), case.task(number), f"task{number}"))
        if number == 0:
            assert np.array_equal(said[0], answers(net, case.task(0), "task0")), "what is pruned is zero already"
    for number, before in enumerate(said):
        after = answers(with_owners(net, past.owners, number + 1), case.task(number), f"task{number}")
        assert np.array_equal(after, before)
    late = answers(net, case.task(0), "task0")
    assert not np.array_equal(late, said[0]), "later tasks' weights change what all weights together say"


def test_every_task_claims_half_of_what_is_free_in_every_layer() -> None:
    case = Case("packnet", "images", "task")
    net, past = sequence(case, 3)
    assert set(past.owners) == set(prunable(net, net.block_names))
    for name, owner in past.owners.items():
        free = owner.numel()
        for number in (1, 2, 3):
            kept = free - free // 2
            assert int((owner == number).sum()) == kept, name
            free -= kept
        weight = net.get_parameter(name)
        assert bool((weight[owner == 0] == 0).all()), "what is free starts the next task from zero"
        assert bool((weight[owner > 0] != 0).any())


def test_biases_and_normalisation_train_with_the_first_task_only() -> None:
    case = Case("packnet", "images", "task")
    config = PacknetConfig(replace(LEARN, norm="train"))
    net, past = case.net(), case.past()
    fresh = state(net)
    increment(case, net, past, 0, config=config)
    first = state(net)
    rest = [name for name in fresh if name not in past.owners and name.startswith("blocks.")]
    assert len(differing({n: fresh[n] for n in rest}, {n: first[n] for n in rest})) == len(rest)
    increment(case, net, past, 1, config=config)
    assert not differing({n: first[n] for n in rest}, {n: state(net)[n] for n in rest})


def test_what_is_pruned_is_the_smallest_of_each_layer_after_training() -> None:
    case = Case("packnet", "vectors", "task")
    net, past = sequence(case, 1)
    start, before = copy.deepcopy(net), copy.deepcopy(past)
    trained: dict[str, torch.Tensor] = {}

    def watch(net: Any, stages: Any) -> Any:
        for made in stages:
            if made.name == "retrain":
                masks = [rule.mask for rule in made.trains.values() if isinstance(rule, Train)]
                for name, value in trained.items():
                    free = before.owners[name] == 0
                    kept = next(mask[name] for mask in masks if mask and name in mask).bool()
                    assert float(value[kept].abs().min()) >= float(value[free & ~kept].abs().max())
                    assert bool((net.get_parameter(name)[free & ~kept] == 0).all())
            yield made
            if made.name == "train":
                trained.update({n: net.get_parameter(n).detach().clone() for n in before.owners})

    increment(case, start, past, 1, wrap=watch)
    assert trained


def test_top_blocks_alone_are_shared_out_and_the_others_never_train() -> None:
    case = Case("packnet", "images", "task")
    net, past = case.net(), case.past()
    fresh = state(net)
    for number in range(2):
        increment(case, net, past, number, config=PacknetConfig(replace(LEARN, top=1)))
    assert {name.split(".")[1] for name in past.owners} == {"layer3_0"}
    below = [name for name in fresh if name.startswith("blocks.") and "layer3_0" not in name]
    assert not differing({n: fresh[n] for n in below}, {n: state(net)[n] for n in below})


def test_no_free_weights_left_is_said_before_anything_changes() -> None:
    case = Case("packnet", "vectors", "task")
    net, past = case.net(), case.past()
    increment(case, net, past, 0, config=PacknetConfig(LEARN, share=0.0))
    before = state(net)
    with pytest.raises(ConfigError, match="no free weights are left"):
        increment(case, net, past, 1)
    assert not differing(state(net), before)


def test_a_model_learned_by_other_means_has_no_room() -> None:
    case = Case("packnet", "vectors", "task")
    past = case.past()
    past.tasks.append(Learned("before", "before", ("a", "b")))
    with pytest.raises(ConfigError, match="learned by other means"):
        next(packnet(case.net(), case.task(0), past=past))


def test_the_kept_weights_train_half_as_long_again() -> None:
    case = Case("packnet", "vectors", "task")
    made = [one for one in _stages(case, CONFIGS["packnet"]) if isinstance(one, Stage)]
    assert [(one.name, one.budget.epochs) for one in made] == [("train", 2), ("retrain", 1)]
    made = [one for one in _stages(case, PacknetConfig(LEARN, retrain_epochs=5)) if isinstance(one, Stage)]
    assert made[1].budget.epochs == 5


def _stages(case: Case, config: PacknetConfig) -> list[Any]:
    return list(packnet(case.net(), case.task(0), config, past=case.past()))


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (PacknetConfig(LEARN, share=1.0), "share=1.0"),
        (PacknetConfig(LEARN, retrain_epochs=0), "retrain_epochs=0"),
        (PacknetConfig(replace(LEARN, scale=0.0)), "scale=0.0"),
        (PacknetConfig(replace(LEARN, recipe=replace(LEARN.recipe, average=0.9))), "average=0.9"),
    ],
)
def test_settings_that_cannot_be(config: PacknetConfig, named: str) -> None:
    case = Case("packnet", "vectors", "task")
    with pytest.raises(ConfigError, match=named):
        next(packnet(case.net(), case.task(0), config, past=case.past()))
