"""Contrastive distillation against its definition, its constant against chance, and the limit that bounds information."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.losses.contrastive import contrast, log_mean_exp_cosine, scores, spread


def test_equals_its_definition() -> None:
    """Tian et al. 2020, eqs. 9-10: h = e^a / (e^a + K Z)."""
    draw = np.random.default_rng(0)
    positive, negatives = draw.normal(0, 3, 4), draw.normal(0, 3, (4, 6))
    usable = draw.random((4, 6)) < 0.7
    usable[2] = False
    count, noise = 16.0, 40.0
    expected = []
    for i in range(4):
        h = math.exp(positive[i]) / (math.exp(positive[i]) + noise)
        away = [math.log(1 - math.exp(a) / (math.exp(a) + noise)) for a in negatives[i][usable[i]]]
        expected.append(-math.log(h) - count * (np.mean(away) if away else 0.0))
    tensors = torch.from_numpy(positive), torch.from_numpy(negatives), torch.from_numpy(usable)
    np.testing.assert_allclose(contrast(*tensors, count, math.log(noise)).numpy(), expected, rtol=1e-10)


def test_gradcheck_and_extremes() -> None:
    draw = np.random.default_rng(0)
    p, n = (torch.from_numpy(draw.normal(size=shape)).requires_grad_(True) for shape in ((3,), (3, 4)))
    usable = torch.from_numpy(draw.random((3, 4)) < 0.6)
    assert torch.autograd.gradcheck(lambda a, b: contrast(a, b, usable, 4.0, 1.5), (p, n))
    for top in (1e30, -1e30):
        x = torch.full((2,), top, requires_grad=True)
        found = contrast(x, torch.full((2, 3), top), torch.ones(2, 3, dtype=torch.bool), 3.0, 2.0)
        assert torch.isfinite(found).all()
        assert torch.isfinite(torch.autograd.grad(found.sum(), x)[0]).all()


@pytest.mark.parametrize(("dimensions", "temperature"), [(2, 0.5), (3, 0.3), (16, 0.1), (128, 0.07)])
def test_the_constant_is_the_mean_over_the_sphere(dimensions: int, temperature: float) -> None:
    draw = np.random.default_rng(0)
    u = draw.normal(size=(1_000_000 // dimensions, dimensions))
    cosines = u[:, 0] / np.sqrt((u**2).sum(1))  # by symmetry the other may point along the first axis
    powers = np.exp(cosines / temperature)
    error = powers.std() / math.sqrt(len(powers))
    assert abs(math.exp(log_mean_exp_cosine(dimensions, temperature)) - powers.mean()) < 5 * error


def test_the_constant_in_closed_form() -> None:
    """On the sphere in three dimensions a cosine is even in [-1, 1]: the mean is sinh(k) / k."""
    for k in (0.1, 1.0, 14.0, 400.0):
        expected = k - math.log(2 * k) + math.log1p(-math.exp(-2 * k))
        assert log_mean_exp_cosine(3, 1 / k) == pytest.approx(expected, rel=1e-10)
    assert log_mean_exp_cosine(4096, 0.07) == pytest.approx(0.5 / (0.07**2 * 4096), rel=1e-2)


def test_unrelated_networks_lose_what_a_critic_without_knowledge_loses() -> None:
    """With s.t / tau = log Z for all, h = 1 / (1 + K): log(1 + K) + K log(1 + 1 / K)."""
    k, log_z = 64, log_mean_exp_cosine(8, 0.2)
    found = contrast(
        torch.tensor([log_z]), torch.full((1, k), log_z), torch.ones(1, k, dtype=torch.bool), k, math.log(k) + log_z
    )
    assert float(found) == pytest.approx(math.log(1 + k) + k * math.log(1 + 1 / k), rel=1e-5)


def test_scores_are_cosines_over_the_temperature_also_under_autocast() -> None:
    draw = np.random.default_rng(0)
    a, b = (torch.from_numpy(draw.normal(size=(n, 5))).float() for n in (3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found = scores(spread(a), spread(b), 0.07)
    expected = [[float(x @ y / (x.norm() * y.norm()) / 0.07) for y in b] for x in a]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
