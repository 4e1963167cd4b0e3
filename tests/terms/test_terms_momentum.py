"""A momentum copy: what follows, what does not, and that nothing else can move it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.data.views import normalise
from headstart.errors import ConfigError
from headstart.terms.momentum import MomentumCopy
from tests.engine.engine_toys import differing, perceptron, resnet, state


def moved(net: nn.Module, by: float) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(by)
    return net


def test_it_starts_equal_and_follows_by_the_formula() -> None:
    net = perceptron().double()
    start = state(net)
    copy = MomentumCopy(net, 0.9)
    assert not differing(state(copy.copy), start)
    moved(net, 1.0)
    copy.follow(net)
    for name, value in state(copy.copy).items():
        torch.testing.assert_close(value, 0.9 * start[name] + 0.1 * net.state_dict()[name], rtol=1e-12, atol=1e-14)
    copy.follow(net, decay=0.0)
    assert not differing(state(copy.copy), state(net))
    before = state(copy)
    moved(net, 1.0)
    copy.follow(net, decay=1.0)
    assert not differing(state(copy), before)


def test_statistics_are_its_own() -> None:
    net = resnet()
    copy = MomentumCopy(net, 0.5)
    net.train().run(torch.rand(4, 3, 12, 12))
    copy.follow(net)
    mean = "blocks.stem.bn1.running_mean"
    assert not torch.equal(net.state_dict()[mean], copy.copy.state_dict()[mean])
    copy.eval()
    assert all(module.training for module in copy.modules())
    samples = torch.randint(0, 256, (4, 12, 12, 3), dtype=torch.uint8)
    before = state(net)
    found = copy.features(samples, "layer3_0")
    assert not found.requires_grad
    assert int(copy.copy.state_dict()["blocks.stem.bn1.num_batches_tracked"]) == 1
    assert not differing(before, state(net))
    x = normalise(samples, net.input.mean, net.input.std)
    torch.testing.assert_close(found, net.pooled("layer3_0", net.run(x, until="layer3_0")["layer3_0"]))


def test_it_has_no_parameters_and_comes_back_from_its_state() -> None:
    net = resnet()
    net.add_head("toy", 3)
    copy = MomentumCopy(net, 0.9)
    assert not list(copy.parameters())
    assert list(net.parameters())
    assert set(copy.copy.state_dict()) == {name for name in net.state_dict() if not name.startswith("heads.")}
    copy.follow(moved(net, 0.3))
    again = MomentumCopy(resnet(), 0.9)
    again.load_state_dict(copy.state_dict())
    assert not differing(state(copy), state(again))


def test_a_shared_weight_moves_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(2, 2, bias=False)
            self.two = nn.Linear(2, 2, bias=False)
            self.two.weight = self.one.weight

    module = Tied()
    copy = MomentumCopy(module, 0.5)
    start = module.one.weight.detach().clone()
    moved(module, 1.0)
    copy.follow(module)
    for part in (copy.copy.one, copy.copy.two):
        torch.testing.assert_close(part.weight, start + 0.5)


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"momentum 1\.5"):
        MomentumCopy(perceptron(), 1.5)
    copy = MomentumCopy(nn.Linear(3, 2), 0.9)
    assert not copy(torch.rand(2, 3)).requires_grad
    with pytest.raises(ValueError, match="weight"):
        copy.follow(nn.ReLU())
    with pytest.raises(TypeError, match="Net"):
        copy.features(torch.rand(2, 3), "layer0")
