"""Contracts that every way to pretrain keeps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.engine.fit import Machine
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.engine.run import Drive
from headstart.errors import Interrupted
from headstart.nets.net import Net, count_parameters
from headstart.stage import Solve, Stage
from headstart.strategies.pretrain import PRETRAIN
from headstart.studies.pretrain_records import chance_of
from tests.conftest import random_states
from tests.engine.engine_toys import differing, state
from tests.strategies.pretrain.pretrain_toys import TOYS, images, pretrained

every_method = pytest.mark.parametrize("name", sorted(PRETRAIN))


@pytest.fixture(autouse=True)
def _not_stopped() -> Iterator[None]:
    yield
    STOP.requested = False


def labels_for(name: str) -> bool:
    return PRETRAINING[name].labels


def test_every_method_is_tested_and_described() -> None:
    assert set(TOYS) == set(PRETRAIN) == set(PRETRAINING)


@every_method
def test_same_seed_same_bits_and_no_global_random_numbers(name: str) -> None:
    torch.manual_seed(5)
    before = random_states()
    first = state(pretrained(name, labelled=labels_for(name)))
    assert random_states() == before
    assert not differing(first, state(pretrained(name, labelled=labels_for(name))))
    assert differing(first, state(pretrained(name, seed=1, labelled=labels_for(name))))


@dataclass(frozen=True)
class Learned:
    """A longer training without decay, so that nothing moves but what has a gradient."""

    net: Net
    losses: dict[str, list[float]]
    """of every epoch, by stage"""
    chance: float | None


@cache
def learned(name: str) -> Learned:
    toy, lines, stages = TOYS[name], list[dict[str, Any]](), list[Stage | Solve]()
    school = replace(
        toy.config.school, epochs=4 if name in ("greedy", "amdim") else 8, weight_decay=0.0, **FASTER.get(name, {})
    )
    config = replace(toy.config, school=school, **({"norm": True} if name == "dino" else {}))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = toy.net()

    def watched() -> Iterator[Stage | Solve]:
        for stage in PRETRAIN[name](net, images(toy, labelled=labels_for(name)), config):
            stages.append(stage)
            yield stage

    Drive(net, 0, Machine(), None, None, RunLog(None, (lines.append,))).run(watched())
    losses: dict[str, list[float]] = {}
    for line in lines:
        if line["event"] == "epoch":
            losses.setdefault(line["stage"], []).append(line["loss"])
    last = stages[-1]
    assert isinstance(last, Stage)
    return Learned(net, losses, chance_of(last))


FASTER: dict[str, dict[str, float]] = {"simsiam": {"lr": 0.1}, "vicreg": {"lr": 0.06}}
"""What so few steps of the usual toy do not move."""
RESTLESS = {
    "moco": "its queue fills with what is harder to tell apart than the noise it begins with",
    "deepcluster": "every epoch has another question",
    "jigsaw": "toys of one colour and noise have no order to find",
}
"""Methods whose loss need not fall here, and why; it stays near that of guessing."""


@every_method
def test_every_block_learns_and_nothing_else_is_left_behind(name: str) -> None:
    fresh, net = TOYS[name].net(), learned(name).net
    assert list(net.blocks) == list(fresh.blocks)
    assert count_parameters(net) == count_parameters(fresh)
    assert not net.heads
    assert not net.training
    with torch.random.fork_rng():
        torch.manual_seed(1)
        before = dict(TOYS[name].net().named_parameters())
    assert [key for key, value in net.named_parameters() if torch.equal(value, before[key])] == []


@every_method
def test_losses_are_finite_and_fall(name: str) -> None:
    found = learned(name)
    assert found.losses
    for stage, losses in found.losses.items():
        assert all(map(math.isfinite, losses)), (stage, losses)
        end = mean(losses[-2:])
        if name in RESTLESS:
            assert found.chance is not None
            assert end < 1.1 * found.chance, (stage, losses, found.chance)
        elif len(losses) > 1:
            assert end < losses[0], (stage, losses)


@every_method
def test_unlabelled_images_are_enough(name: str) -> None:
    if PRETRAINING[name].labels:
        pytest.skip("it learns from labels")
    with_labels, without = (state(pretrained(name, labelled=labelled)) for labelled in (True, False))
    assert not differing(with_labels, without), "labels changed what was learned"


@every_method
@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_stopped_inside_it_goes_on_to_the_same_bits(name: str, stop: int, tmp_path: Path) -> None:
    expected = state(pretrained(name, labelled=labels_for(name)))
    seen = 0

    def listen(line: dict[str, object]) -> None:
        nonlocal seen
        seen += line["event"] == "tick"
        if line["event"] == "tick" and seen == stop:
            STOP.requested = True

    with pytest.raises(Interrupted):
        pretrained(name, folder=tmp_path, log=RunLog(None, (listen,)), labelled=labels_for(name))
    STOP.requested = False
    assert not differing(expected, state(pretrained(name, folder=tmp_path, labelled=labels_for(name))))
