"""Weights that belong to tasks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.errors import ConfigError
from headstart.nets.owners import prunable, smallest, with_owners
from tests.engine.engine_toys import differing, perceptron, resnet, state


def owners_of(net: torch.nn.Module, names: list[str]) -> dict[str, Tensor]:
    draw = np.random.default_rng(0)
    shapes = {name: tuple(value.shape) for name, value in net.named_parameters()}
    return {name: torch.from_numpy(draw.integers(0, 4, shapes[name]).astype(np.uint8)) for name in names}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_only_claimed_weights_up_to_a_task_are_not_zero(number: int) -> None:
    net = resnet()
    names = prunable(net, net.block_names)
    owners, before = owners_of(net, names), state(net)
    own = state(with_owners(net, owners, number))
    for name, owner in owners.items():
        told = owner.numpy()
        wanted = np.where((told > 0) & (told <= number), before[name].numpy(), 0)
        assert np.array_equal(own[name].numpy(), wanted)
    rest = [name for name in before if name not in owners]
    assert rest
    assert all(torch.equal(own[name], before[name]) for name in rest)
    assert not differing(state(net), before)


def test_prunable_are_the_weights_of_convolutions_and_linear_layers() -> None:
    net = resnet()
    names = prunable(net, ["stem", "layer2_0", "pool"])
    assert names == ["blocks.stem.conv1.weight", "blocks.layer2_0.conv1.weight", "blocks.layer2_0.conv2.weight"]
    assert prunable(perceptron(), ["layer0"]) == ["blocks.layer0.0.weight"]


def test_the_smallest_share_of_some_elements() -> None:
    weight = torch.tensor([[0.5, -0.1, 0.3], [-2.0, 0.0, 0.1]])
    among = torch.tensor([[True, True, True], [True, False, True]])
    assert smallest(weight, among, 0.5).tolist() == [[False, True, False], [False, False, True]]
    assert smallest(weight, among, 0.2).tolist() == [[False, True, False], [False, False, False]], "of equals the first"
    assert not smallest(weight, among, 0.0).any()


@pytest.mark.parametrize("wrong", ["name", "shape", "dtype", "number"])
def test_owners_of_another_network_are_refused(wrong: str) -> None:
    net = perceptron()
    owner = torch.ones(12, 6, dtype=torch.uint8)
    owners = {"blocks.layer9.weight" if wrong == "name" else "blocks.layer0.0.weight": owner}
    if wrong in ("shape", "dtype"):
        owners = {"blocks.layer0.0.weight": owner[:5] if wrong == "shape" else owner.long()}
    with pytest.raises(ConfigError, match="number=0" if wrong == "number" else "do not fit"):
        with_owners(net, owners, 0 if wrong == "number" else 1)
