"""Batch normalisation that was folded away is noticed, and trains no statistics."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.catalog.strategies import FullConfig, LpftConfig, PartialConfig, Recipe
from headstart.engine.fit import fit
from headstart.engine.run import Drive
from headstart.engine.trained import resolve
from headstart.nets.norms import folded_away, normalises
from headstart.stage import Stage
from headstart.strategies import STRATEGIES
from headstart.studies.arms import base_recipe
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet


def emptied() -> nn.Module:
    """A network whose normalisation has left its statistics and scales to the convolutions."""
    net = resnet()
    generator = torch.Generator().manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.bias, 0.1)
            with torch.no_grad():
                layer.bias += 0.1 * torch.randn(layer.bias.shape, generator=generator)
    return net


def test_what_is_folded_away() -> None:
    layer = nn.BatchNorm2d(3)
    assert (folded_away(layer), normalises(layer)) == (False, True)  # new: nothing has been learned
    nn.init.constant_(layer.bias, 0.5)
    assert (folded_away(layer), normalises(layer)) == (True, False)
    layer.running_mean += 0.1
    assert (folded_away(layer), normalises(layer)) == (False, True)
    assert not folded_away(nn.BatchNorm2d(3, affine=False))
    assert not folded_away(nn.BatchNorm2d(3, track_running_stats=False))
    assert not normalises(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert not folded_away(resnet())


@pytest.mark.parametrize(("name", "config"), [("full", FullConfig), ("lpft", LpftConfig), ("partial", PartialConfig)])
def test_it_keeps_its_statistics_while_the_rest_trains(name: str, config: type) -> None:
    net, task = emptied(), make_image_task(24, size=12)
    assert folded_away(net)
    recipe = Recipe(epochs=1, batch_size=8)
    before = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    stages = list_of_trained(net, task, name, config(recipe))
    assert stages
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def list_of_trained(net, task, name, config) -> list[Stage]:  # type: ignore[no-untyped-def]
    trained = []
    for stage in STRATEGIES[name](net, task, config):
        if isinstance(stage, Stage):
            assert not any(isinstance(module, nn.BatchNorm2d) for module in resolve(net, stage).modules.values())
            fit(net, stage)
            trained.append(stage)
        else:
            Drive(net, 0).run(iter([stage]))
    return trained


def test_drawn_anew_it_normalises_again() -> None:
    net, task = emptied(), make_image_task(24, size=12)
    stage = next(iter(STRATEGIES["retrain"](net, task)))
    assert normalises(net)
    assert any(isinstance(module, nn.BatchNorm2d) for module in resolve(net, stage).modules.values())


def test_its_rates_are_those_of_networks_without_normalisation() -> None:
    assert base_recipe(emptied(), 100, mirror=True, class_weights=False).clip == 1.0
    assert base_recipe(resnet(), 100, mirror=True, class_weights=False).clip is None
