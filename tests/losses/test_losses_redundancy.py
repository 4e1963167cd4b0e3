"""Correlation and covariance losses against the papers' sums in loops, closed forms, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.losses.redundancy import (
    barlow_twins,
    covariance_penalty,
    cross_correlation,
    invariance,
    variance_hinge,
)
from tests.losses.naive import Array, tensors, two


def correlation(a: Array, b: Array) -> Array:
    """Zbontar et al. 2021, eq. 2, after taking the mean over the batch away."""
    a, b = a - a.mean(0), b - b.mean(0)
    out = np.empty((a.shape[1], b.shape[1]))
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            above = sum(a[n, i] * b[n, j] for n in range(len(a)))
            out[i, j] = above / (math.sqrt(sum(a[:, i] ** 2)) * math.sqrt(sum(b[:, j] ** 2)))
    return out


def test_barlow_twins_equals_its_definition() -> None:
    a, b = two(7, 4)
    c = correlation(a, b)
    found = cross_correlation(torch.from_numpy(a), torch.from_numpy(b), eps=0.0)
    np.testing.assert_allclose(found.numpy(), c, rtol=0, atol=1e-12)
    expected = sum((1 - c[i, i]) ** 2 for i in range(4))
    expected += 0.005 * sum(c[i, j] ** 2 for i in range(4) for j in range(4) if i != j)
    assert float(barlow_twins(found, 0.005)) == pytest.approx(expected, rel=1e-12)


def test_barlow_twins_in_closed_form() -> None:
    independent = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)
    same = cross_correlation(independent, 3 * independent + 5, eps=0.0)
    torch.testing.assert_close(same, torch.eye(2, dtype=torch.float64))
    assert float(barlow_twins(same, 0.5)) == pytest.approx(0.0, abs=1e-12)
    assert float(barlow_twins(-same, 0.5)) == pytest.approx(2 * 4.0)
    copied = independent[:, [0, 0]]  # two dimensions that say one thing
    assert float(barlow_twins(cross_correlation(copied, copied, eps=0.0), 0.25)) == pytest.approx(0.25 * 2)


def test_collapse_is_the_worst_answer() -> None:
    """Constant embeddings correlate with nothing: D, and not 0; the variance hinge is at its height."""
    z = torch.ones(6, 5, dtype=torch.float64)
    assert float(barlow_twins(cross_correlation(z, z), 0.005)) == pytest.approx(5.0)
    assert float(variance_hinge(z)) == pytest.approx(1 - math.sqrt(1e-4))
    assert float(covariance_penalty(z)) == 0.0


def test_vicreg_equals_its_definition() -> None:
    a, b = two(7, 4, scale=0.8)
    hinge = np.mean([max(0.0, 1 - math.sqrt(sum((c - c.mean()) ** 2) / 6 + 1e-4)) for c in a.T])
    centred = a - a.mean(0)
    covariance = sum(np.outer(row, row) for row in centred) / 6
    beside = sum(covariance[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    assert float(variance_hinge(torch.from_numpy(a))) == pytest.approx(float(hinge), rel=1e-12)
    assert float(covariance_penalty(torch.from_numpy(a))) == pytest.approx(beside, rel=1e-12)
    np.testing.assert_allclose(invariance(*tensors(a, b)).detach().numpy(), ((a - b) ** 2).sum(1) / 4, rtol=1e-12)


def test_gradients() -> None:
    a, b = tensors(*two(5, 3, scale=0.5))
    assert torch.autograd.gradcheck(lambda x, y: barlow_twins(cross_correlation(x, y), 0.1), (a, b))
    assert torch.autograd.gradcheck(variance_hinge, (a,))
    assert torch.autograd.gradcheck(covariance_penalty, (a,))
    assert torch.autograd.gradcheck(invariance, (a, b))


def test_order_of_images_shift_and_scale() -> None:
    a, b = (torch.from_numpy(x) for x in two(6, 3))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(cross_correlation(a[order], b[order]), cross_correlation(a, b))
    torch.testing.assert_close(cross_correlation(2 * a + 9, b - 4, 0.0), cross_correlation(a, b, 0.0))
    torch.testing.assert_close(covariance_penalty(a[order] + 3), covariance_penalty(a))
    torch.testing.assert_close(variance_hinge(a[order] - 5), variance_hinge(a))


def test_half_precision_is_computed_in_full() -> None:
    a, b = (torch.from_numpy(x).bfloat16() for x in two(64, 3))
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_correlation(a, b), covariance_penalty(a), variance_hinge(a)
    assert all(one.dtype == torch.float32 for one in found)
    torch.testing.assert_close(found[0], cross_correlation(a.float(), b.float()))
    torch.testing.assert_close(found[1], covariance_penalty(a.float()))
