"""BYOL and SimSiam: their loss by hand, what gradients reach, and how the slow copy follows."""

from __future__ import annotations

import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.data.views import normalise
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.terms.bootstrap import Bootstrap, Siamese
from headstart.terms.perceptron import perceptron
from tests.engine.engine_toys import differing, resnet, state
from tests.terms.viewed import Viewed, two_views


def bootstrap(net: Net, **more: object) -> Bootstrap:
    settings = {"dimensions": 4, "hidden": 8, "momentum": 0.9, "steps": 10, "seed": 0} | more
    return Bootstrap(net, **settings)  # type: ignore[arg-type]


def embedded(net: nn.Module, step: Viewed, view: str) -> Tensor:
    """Features of one view by hand."""
    assert isinstance(net, Net)
    return net.run(normalise(step.samples(view), net.input.mean, net.input.std))[net.last]


def unit(x: Tensor) -> np.ndarray:
    rows = x.detach().double().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_byol_loss_by_hand() -> None:
    net = resnet().train()
    term = bootstrap(net)
    with torch.no_grad():
        for parameter in net.parameters():  # the copy stays behind
            parameter.mul_(1.2)
    slow, same = deepcopy(term.slow.copy).train(), deepcopy(net).train()
    projection, predictor, theirs = (deepcopy(m) for m in (term.projection, term.predictor, term.slow_projection.copy))
    step = two_views(net)
    said = [unit(predictor(projection(embedded(same, step, view)))) for view in ("one", "two")]
    aims = [unit(theirs(embedded(slow, step, view))) for view in ("one", "two")]
    expected = np.mean([((said[0][n] - aims[1][n]) ** 2).sum() + ((said[1][n] - aims[0][n]) ** 2).sum() for n in range(6)])
    loss = term(step)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)
    assert step.asked == [("one",), ("two",)], "batch normalisation saw both views"
    loss.backward()
    assert all(p.grad is not None for m in (term.projection, term.predictor) for p in m.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in net.named_parameters() if p.ndim > 1), "no gradient"
    assert not [name for name, _ in term.named_parameters() if "slow" in name]


def test_the_copy_follows_after_the_step_and_ever_more_slowly() -> None:
    net = resnet()
    term = bootstrap(net, momentum=0.8, steps=4)
    assert not differing(state(term.slow.copy), state(net))
    followed: list[float] = []
    own = dict(term.slow.copy.named_buffers())["blocks.stem.conv1.weight"]
    for _ in range(5):
        with torch.no_grad():
            net.blocks["stem"].conv1.weight.add_(1.0)
        before, theirs = own.clone(), net.blocks["stem"].conv1.weight.detach()
        term(two_views(net.train()))
        assert torch.equal(own, before), "forward moved the copy"
        term.after_step(two_views(net))
        followed.append(float(((own - before) / (theirs - before)).mean()))
    expected = [0.2 * (math.cos(math.pi * k / 4) + 1) / 2 for k in range(5)]
    assert followed == pytest.approx(expected, abs=1e-6)


def test_the_course_is_saved() -> None:
    term, other = bootstrap(resnet()), bootstrap(resnet())
    for _ in range(3):
        term.after_step(two_views(resnet()))
    other.load_state_dict(term.state_dict())
    assert other.done == 3
    assert other.decay == term.decay > 0.9


def test_simsiam_loss_and_gradient_by_hand() -> None:
    net = resnet().train()
    term = Siamese(net, dimensions=8, hidden=4, seed=0)
    same, projection, predictor = (deepcopy(m) for m in (net, term.projection, term.predictor))
    step = two_views(net)
    loss = term(step)
    loss.backward()
    z = [projection(embedded(same, step, view)) for view in ("one", "two")]
    p = [predictor(one) for one in z]

    def half(one: Tensor, other: Tensor) -> Tensor:
        lengths = one.square().sum(1).sqrt() * other.square().sum(1).sqrt()
        return -(one * other).sum(1) / lengths / 2

    by_hand = (half(p[0], z[1].detach()) + half(p[1], z[0].detach())).mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-5)
    by_hand.backward()
    for (name, parameter), theirs in zip(net.named_parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, theirs.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_perceptrons_are_drawn_from_their_seed_and_normalised_where_said() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (perceptron((3, 5, 4), seed, last_norm=True) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not differing(state(one), state(same))
    assert differing(state(one), state(other))
    assert [type(layer).__name__ for layer in one] == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    assert one[4].weight is None
    assert [type(layer).__name__ for layer in perceptron((3, 5, 4), 0, norm=False)] == ["Linear", "ReLU", "Linear"]


def test_blocks_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="'nowhere' is to be embedded"):
        Siamese(resnet(), dimensions=4, hidden=4, seed=0, block="nowhere")
