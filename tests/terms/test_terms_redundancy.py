"""Barlow Twins and VICReg on a batch, against their equations on the embeddings in loops."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from headstart.terms.redundancy import Decorrelated, Expanded, Regularised
from tests.engine.engine_toys import resnet
from tests.losses.test_losses_redundancy import correlation
from tests.terms.test_terms_bootstrap import embedded
from tests.terms.viewed import two_views


def embeddings(term: Expanded) -> tuple[np.ndarray, np.ndarray]:
    net, projection = resnet().train(), deepcopy(term.projection)
    step = two_views(net)
    z = [projection(embedded(net, step, view)).detach().double().numpy() for view in ("one", "two")]
    return z[0], z[1]


def test_barlow_twins() -> None:
    net = resnet().train()
    term = Decorrelated(net, dimensions=5, weight=0.01, scale=0.5, seed=0)
    a, b = embeddings(term)
    c = correlation(a, b)
    beside = (c**2).sum() - (np.diag(c) ** 2).sum()
    expected = 0.5 * (((1 - np.diag(c)) ** 2).sum() + 0.01 * beside)
    step = two_views(net)
    assert term(step).item() == pytest.approx(expected, rel=1e-2)  # eps is added to small variances
    assert step.asked == [("one",), ("two",)]


def test_vicreg() -> None:
    net = resnet().train()
    term = Regularised(net, dimensions=5, weights=(25.0, 15.0, 2.0), seed=0)
    a, b = embeddings(term)
    expected = 25 * ((a - b) ** 2).mean()
    for z in (a, b):
        covariance = np.cov(z.T)
        expected += 15 / 2 * np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean()
        expected += 2 * ((covariance**2).sum() - (np.diag(covariance) ** 2).sum()) / 5
    assert term(two_views(net)).item() == pytest.approx(expected, rel=1e-4)


def test_every_weight_gets_a_gradient() -> None:
    for make in (
        lambda net: Decorrelated(net, dimensions=5, weight=0.01, scale=0.5, seed=0),
        lambda net: Regularised(net, dimensions=5, weights=(25.0, 25.0, 1.0), seed=0),
    ):
        net = resnet().train()
        term = make(net)
        term(two_views(net)).backward()
        for name, parameter in [*net.named_parameters(), *term.named_parameters()]:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_chance_is_the_loss_of_embeddings_that_never_change() -> None:
    net = resnet().train()
    term = Decorrelated(net, dimensions=5, weight=0.01, scale=0.5, seed=0)
    torch.nn.init.zeros_(term.projection[-1].weight)
    assert term(two_views(net)).item() == pytest.approx(term.chance) == 2.5
