"""Backward passes of weightings that look at single tasks' gradients, against counts by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.catalog.sharing import SharingConfig
from headstart.catalog.strategies import Recipe
from headstart.data.mix import Mix, mix_of
from headstart.data.store import store_of
from headstart.data.task import task_of
from headstart.engine.fit import Machine
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.nets.towers import towers
from headstart.stage import Stage
from headstart.strategies.multitask import multitask
from headstart.studies.costs import stage_parts
from headstart.studies.multitask_gradients import task_gradients

WIDE, MIDDLE, LAST, CLASSES = 12, 8, 6, {"one": 5, "other": 2, "third": 3}
SAMPLES, EPOCHS, BATCH = 40, 3, 16
CONFIG = SharingConfig(Recipe(epochs=EPOCHS, batch_size=BATCH, augment=False), scale=1.0)


def net_of() -> Net:
    with forked(0):
        return mlp(WIDE, (MIDDLE, LAST))


def asked(apart: bool = False) -> Mix:
    """Three tasks about the same samples, or each about samples of its own, a batch being of one of them."""
    store = store_of(np.random.default_rng(0).normal(size=(SAMPLES, WIDE)).astype(np.float32))
    labels = {name: np.arange(SAMPLES) % size for name, size in CLASSES.items()}
    tasks = [task_of(name, store, values, tuple("abcde"[: CLASSES[name]])) for name, values in labels.items()]
    if not apart:
        return mix_of("same", tasks)
    parts = np.split(np.arange(SAMPLES), (16, 32))
    return mix_of("apart", [task.take(part) for task, part in zip(tasks, parts, strict=True)], tuple(parts), per="batch")


def stage_of(net: Net, mix: Mix) -> Stage:
    stages: Iterator[Stage] = multitask(net, mix, CONFIG)
    return next(stages)


def test_gradnorm_takes_every_tasks_gradient_by_the_last_shared_block_only():
    net, mix = net_of(), asked()
    found = task_gradients(net, stage_of(net, mix), "by gradient norm")
    # Through each head to its input, and the weights of the block above it: nothing passes below that block.
    by_hand = sum(LAST * classes + MIDDLE * LAST for classes in CLASSES.values())
    assert found == {"task gradients": 2.0 * SAMPLES * EPOCHS * by_hand}


def test_whole_gradients_take_a_backward_pass_through_the_shared_part_for_each_task_but_one():
    net, mix = net_of(), asked()
    found = task_gradients(net, stage_of(net, mix), "by gradients")
    # Weights of both blocks and the input of the upper one, twice more; heads answer for their own loss once, as ever.
    by_hand = (len(CLASSES) - 1) * (WIDE * MIDDLE + 2 * MIDDLE * LAST)
    assert found == {"task gradients": 2.0 * SAMPLES * EPOCHS * by_hand}


@pytest.mark.parametrize("family", ["by losses", "fixed"])
def test_other_weightings_take_none(family: str):
    net = net_of()
    assert task_gradients(net, stage_of(net, asked()), family) == {}


def test_a_batch_about_one_task_needs_no_more_than_its_own_pass():
    net, mix = net_of(), asked(apart=True)
    stage = stage_of(net, mix)
    assert task_gradients(net, stage, "by gradients") == {}
    shares = dict(zip(CLASSES, (16, 16, 8), strict=True))
    by_hand = sum(shares[name] * (LAST * classes + MIDDLE * LAST) for name, classes in CLASSES.items())
    assert task_gradients(net, stage, "by gradient norm")["task gradients"] == pytest.approx(2.0 * EPOCHS * by_hand)


def test_a_tower_that_a_loss_does_not_reach_is_not_passed():
    net = towers(net_of(), tuple(CLASSES))
    assert task_gradients(net, stage_of(net, asked()), "by gradients") == {}
    shared = towers(net_of(), tuple(CLASSES), shared=1)
    found = task_gradients(shared, stage_of(shared, asked()), "by gradients")
    assert found == {"task gradients": 2.0 * SAMPLES * EPOCHS * (len(CLASSES) - 1) * WIDE * MIDDLE}


def test_counting_changes_nothing():
    net, other, mix = net_of(), net_of(), asked()
    stage, same = stage_of(net, mix), stage_of(other, mix)
    before = torch.get_rng_state()
    task_gradients(net, stage, "by gradients")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one, two) for one, two in zip(net.parameters(), other.parameters(), strict=True))
    assert all(one.grad is None and one.requires_grad for one in net.parameters())
    parts = [stage_parts(one, which, Machine(), block_flops(one)) for one, which in ((net, stage), (other, same))]
    assert parts[0] == parts[1]


def test_of_a_frozen_part_nothing_is_counted():
    net, mix = net_of(), asked()
    stage = stage_of(net, mix)
    upper = {name: rule for name, rule in stage.trains.items() if name != f"blocks.{net.block_names[0]}"}
    found = task_gradients(net, replace(stage, trains=upper), "by gradients")
    assert found == {"task gradients": 2.0 * SAMPLES * EPOCHS * (len(CLASSES) - 1) * MIDDLE * LAST}
