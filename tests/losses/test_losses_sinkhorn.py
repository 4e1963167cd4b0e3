"""Codes against the algorithm in loops, their marginals, and the limits of entropy."""

from __future__ import annotations

import numpy as np
import torch

from headstart.losses.sinkhorn import sinkhorn
from tests.losses.naive import Array, two


def naive(scores: Array, eps: float, iterations: int) -> Array:
    """Caron et al. 2020, listing 1: prototypes take equal shares, then images are given away once."""
    q = np.exp(scores / eps)
    n, k = q.shape
    q /= q.sum()
    for _ in range(iterations):
        for column in range(k):
            q[:, column] /= q[:, column].sum() * k
        for row in range(n):
            q[row] /= q[row].sum() * n
    out: Array = q * n
    return out


def test_equals_the_algorithm() -> None:
    scores = np.tanh(two(9, 4)[0])
    for eps, iterations in ((0.05, 3), (0.5, 1), (0.2, 10)):
        found = sinkhorn(torch.from_numpy(scores), eps, iterations).numpy()
        np.testing.assert_allclose(found, naive(scores, eps, iterations), rtol=1e-9)


def test_marginals() -> None:
    """Every image is given away once, exactly; every prototype takes N / K of them, in the limit exactly."""
    scores = torch.from_numpy(np.tanh(two(12, 3)[0]))
    scores[:, 0] += 0.9  # a prototype that all like best
    few, many = sinkhorn(scores, 0.05, 3), sinkhorn(scores, 0.3, 200)
    torch.testing.assert_close(few.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(many.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(many.sum(0), torch.full((3,), 4.0, dtype=torch.float64))


def test_equal_scores_give_even_codes_and_constants_change_nothing() -> None:
    torch.testing.assert_close(sinkhorn(torch.zeros(5, 4)), torch.full((5, 4), 0.25))
    scores = torch.from_numpy(np.tanh(two(6, 3)[0]))
    torch.testing.assert_close(sinkhorn(scores + 7), sinkhorn(scores))


def test_much_entropy_is_even_and_little_is_one_prototype() -> None:
    scores = torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, 1e3, 5), torch.full((4, 4), 0.25, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(sinkhorn(scores, 1e-2, 5), torch.eye(4, dtype=torch.float64))


def test_nothing_flows_back_and_extremes_stay_finite() -> None:
    scores = torch.tensor([[1e4, -1e4], [1e4, 1e4]], requires_grad=True)
    found = sinkhorn(scores)
    assert not found.requires_grad
    assert torch.isfinite(found).all()
