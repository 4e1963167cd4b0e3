"""Contracts that every way to pretrain keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from headstart.catalog.pretrain_methods import PRETRAINING
from headstart.engine.interrupt import STOP
from headstart.engine.log import RunLog
from headstart.errors import Interrupted
from headstart.nets.net import count_parameters
from headstart.strategies.pretrain import PRETRAIN
from tests.conftest import random_states
from tests.engine.engine_toys import differing, state
from tests.strategies.pretrain.pretrain_toys import TOYS, pretrained

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


@every_method
def test_every_block_learns_and_nothing_else_is_left_behind(name: str) -> None:
    fresh = TOYS[name].net()
    net = pretrained(name, labelled=labels_for(name))
    assert list(net.blocks) == list(fresh.blocks)
    assert count_parameters(net) == count_parameters(fresh)
    assert not net.heads
    assert not net.training
    fresh_values = dict(fresh.named_parameters())
    still = [key for key, value in net.named_parameters() if torch.equal(value, fresh_values[key]) and value.numel() > 1]
    assert not still or len(still) < len(fresh_values) / 4, still


@every_method
def test_unlabelled_images_are_enough(name: str) -> None:
    if PRETRAINING[name].labels:
        pytest.skip("it learns from labels")
    with_labels, without = (state(pretrained(name, labelled=labelled)) for labelled in (True, False))
    assert not differing(with_labels, without), "labels changed what was learned"


@every_method
@pytest.mark.parametrize("stop", [1, 4])
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


@every_method
def test_losses_are_finite_and_fall_or_stay(name: str) -> None:
    lines: list[dict[str, object]] = []
    pretrained(name, log=RunLog(None, (lines.append,)), labelled=labels_for(name))
    losses = [line["loss"] for line in lines if line["event"] == "epoch"]
    assert losses
    assert all(isinstance(loss, float) and loss == loss for loss in losses)
