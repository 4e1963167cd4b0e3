"""The path integral of synaptic intelligence: the task's own gradient, whatever else the step does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.engine.fit import fit
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.stage import Budget, Optimizer
from headstart.terms.base import Term
from headstart.terms.path_integral import PathIntegral
from headstart.terms.penalty import Penalty
from headstart.terms.supervised import Supervised
from tests.engine.engine_toys import stage, vectors


class Naive(Term):
    """The same sum, from a backward pass of the task's loss alone."""

    heads = ("toy",)

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.live: dict[str, nn.Parameter] = dict(net.named_parameters())
        self.omega = {name: torch.zeros_like(one) for name, one in self.live.items()}
        self.loss = Supervised("toy")
        self.losses: list[float] = []

    def forward(self, step: Any) -> Tensor:
        loss = self.loss(step)
        self.losses.append(loss.item())
        self.gradient = torch.autograd.grad(loss, list(self.live.values()), retain_graph=True)
        self.before = [one.detach().clone() for one in self.live.values()]
        return torch.zeros(())

    def after_step(self, step: Any) -> None:
        for (name, one), before, gradient in zip(self.live.items(), self.before, self.gradient, strict=True):
            self.omega[name] -= gradient * (one.detach() - before)


@pytest.mark.parametrize("held", [True, False])
def test_it_is_the_sum_over_steps_of_the_tasks_own_gradient_times_the_way(held: bool) -> None:
    """With momentum, weight decay, clipping and a penalty, none of which belongs to the gradient."""
    net, task = vectors()
    live = dict(net.named_parameters())
    with forked(3):
        some = {name: one for name, one in live.items() if name != "heads.toy.linear.bias"}
        anchors = {name: one.detach() + torch.randn_like(one) for name, one in some.items()}
        penalty = Penalty(some, 0.5, anchors=anchors, importances={name: torch.rand_like(one) for name, one in some.items()})
    path, naive = PathIntegral(live, penalty if held else None), Naive(net)
    terms = {"supervised": Supervised("toy"), "old": path, "naive": naive}
    fit(net, stage(task, terms=terms, optimizer=Optimizer(lr=0.05, weight_decay=0.01, clip=0.3)))
    for name, found in path.omega().items():
        torch.testing.assert_close(found, naive.omega[name], rtol=1e-4, atol=1e-6)
    assert path.penalty is None or not list(path.parameters())


def test_in_small_steps_it_adds_up_to_what_the_loss_came_down_by() -> None:
    net, task = vectors()
    path, naive = PathIntegral(dict(net.named_parameters())), Naive(net)
    terms = {"supervised": Supervised("toy"), "old": path, "naive": naive}
    rule = Optimizer(lr=0.002, momentum=0.0, weight_decay=0.0, schedule="constant", warmup=0.0)
    fit(net, stage(task, terms=terms, optimizer=rule, budget=Budget(steps=300), batch_size=35))
    total = sum(float(one.sum()) for one in path.omega().values())
    assert total == pytest.approx(naive.losses[0] - naive.losses[-1], rel=0.03)
    assert total > 0.1


def test_the_sums_are_state_and_nothing_else_is() -> None:
    net, task = vectors()
    live = dict(net.named_parameters())
    path = PathIntegral(live)
    fit(net, stage(task, terms={"supervised": Supervised("toy"), "old": path}))
    other = PathIntegral(live)
    other.load_state_dict(path.state_dict())
    for name, value in other.omega().items():
        assert torch.equal(value, path.omega()[name])
        assert value.abs().sum() > 0
    assert len(path.state_dict()) == len(live)


def test_no_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="no weights"):
        PathIntegral({})
