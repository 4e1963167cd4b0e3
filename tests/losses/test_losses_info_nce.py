"""InfoNCE and NCE against their definitions and closed forms; what does not count does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.losses.info_nce import against, info_nce, nce
from headstart.losses.similarity import distances, laid, similarities
from tests.losses import naive_contrast
from tests.losses.naive import tensors

KINDS = {"info_nce": info_nce, "nce": nce}


def drawn(a: int = 4, m: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(0, 2, (a, m)), draw.integers(0, m, a)


@pytest.mark.parametrize("name", KINDS)
def test_equals_its_definition(name: str) -> None:
    scores, positive = drawn()
    expected = [getattr(naive_contrast, name)(row, place) for row, place in zip(scores, positive, strict=True)]
    found = KINDS[name](torch.from_numpy(scores), torch.from_numpy(positive))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_columns_at_minus_infinity_do_not_count(name: str) -> None:
    scores, positive = drawn()
    wide = np.insert(scores, 2, -np.inf, axis=1)
    places = torch.from_numpy(positive + (positive >= 2))
    expected = KINDS[name](torch.from_numpy(scores), torch.from_numpy(positive))
    leaf = torch.from_numpy(wide).requires_grad_(True)
    found = KINDS[name](leaf, places)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), leaf)
    assert torch.isfinite(gradient).all()
    assert not gradient[:, 2].any()


@pytest.mark.parametrize("m", [2, 5, 65])
def test_closed_forms(m: int) -> None:
    """Equal scores: ln N; of a queue of K: ln(K + 1)."""
    first = torch.zeros(3, dtype=torch.int64)
    zeros, k = torch.zeros(3, m, dtype=torch.float64), m - 1
    np.testing.assert_allclose(info_nce(zeros + 1.7, first), math.log(m), rtol=1e-12)
    np.testing.assert_allclose(nce(zeros, first), math.log(1 + k) + k * math.log(1 + 1 / k), rtol=1e-12)
    scores, positive = against(zeros[:, 0] + 0.3, zeros[:, 1:] + 0.3)
    np.testing.assert_allclose(info_nce(scores, positive), math.log(k + 1), rtol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_but_the_positive_costs_nothing(name: str) -> None:
    scores = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    found = KINDS[name](scores, torch.zeros(3, dtype=torch.int64))
    assert not found.any()
    assert not torch.autograd.grad(found.sum(), scores)[0].any()
    none = torch.zeros(0, 4, requires_grad=True)
    assert float(KINDS[name](none, torch.zeros(0, dtype=torch.int64)).sum().detach()) == 0


@pytest.mark.parametrize("name", KINDS)
def test_gradcheck_and_extremes(name: str) -> None:
    scores, positive = drawn(3, 4)
    places = torch.from_numpy(positive)
    assert torch.autograd.gradcheck(lambda x: KINDS[name](x, places), tensors(scores))
    for top in (1e4, -1e4):
        x = torch.full((2, 3), top)
        x[0, 0] = -top
        x.requires_grad_(True)
        found = KINDS[name](x, torch.tensor([0, 1]))
        assert torch.isfinite(found).all()
        assert torch.isfinite(torch.autograd.grad(found.sum(), x)[0]).all()


def test_nce_is_least_at_the_log_ratio_of_densities() -> None:
    """Ten candidates x, noise even, observations with chances p: f = log(p / noise) for all x has no gradient."""
    p = np.array([0.05, 0.1, 0.15, 0.3, 0.4])
    k, noise = 4, np.full(5, 0.2)
    f = torch.from_numpy(np.log(p / noise)).requires_grad_(True)
    expected = torch.zeros((), dtype=torch.float64)
    for x in range(5):  # the mean over observations, and K times the mean over noise
        first = torch.zeros(1, dtype=torch.int64)
        alone = nce(torch.stack([f[x], *[torch.full((), -1e9, dtype=torch.float64)] * k])[None], first)[0]
        away = nce(torch.stack([torch.full((), 1e9, dtype=torch.float64), *[f[x]] * k])[None], first)[0]
        expected = expected + p[x] * alone + noise[x] * away
    assert torch.autograd.grad(expected, f)[0].abs().max() < 1e-9


def test_similarities_and_distances() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(3, 4)), draw.normal(size=(5, 4))
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    for kind in ("cosine", "dot"):
        expected = [[naive_contrast.alike(i, j, kind) / 0.2 for j in b] for i in a]
        np.testing.assert_allclose(similarities(x, y, kind, 0.2).numpy(), expected, rtol=1e-10)
        u, v = laid(x, kind).numpy(), laid(y, kind).numpy()
        apart = [[((i - j) ** 2).sum() for j in v] for i in u]
        np.testing.assert_allclose(distances(x, y, kind).numpy(), apart, rtol=1e-10)
    assert torch.isfinite(laid(torch.zeros(2, 3))).all()
