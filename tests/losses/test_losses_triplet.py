"""The triplet loss against its definition, and the negatives it chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.losses.similarity import Similarity, distances
from headstart.losses.triplet import Mining, mined, triplet
from tests.losses import naive_contrast
from tests.losses.naive import tensors


def drawn(n: int = 5, d: int = 3, seed: int = 0) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.normal(size=(n, d)) for _ in range(3)]


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_equals_its_definition(similarity: Similarity) -> None:
    a, p, n = drawn()
    expected = [naive_contrast.triplet(*row, 0.7, similarity) for row in zip(a, p, n, strict=True)]
    assert 0 < sum(x > 0 for x in expected) < 5
    np.testing.assert_allclose(triplet(*tensors(a, p, n), 0.7, similarity).detach(), expected, rtol=1e-10)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_mining_is_the_worst_or_the_mean_of_all_triples(similarity: Similarity) -> None:
    a, p, _ = drawn(6)
    apart = distances(*tensors(a, p), similarity)
    diagonal = torch.arange(6)
    every = [[naive_contrast.triplet(a[i], p[i], p[j], 0.5, similarity) for j in range(6) if j != i] for i in range(6)]
    np.testing.assert_allclose(mined(apart, diagonal, 0.5, "hard").detach(), np.max(every, 1), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mined(apart, diagonal, 0.5, "all").detach(), np.mean(every, 1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_what_does_not_count_and_no_negatives(mining: Mining) -> None:
    a, p, _ = drawn(4)
    apart = distances(*tensors(a, p)).detach()
    expected = mined(apart, torch.arange(4), 0.5, mining)
    wide = torch.cat([torch.full((4, 1), torch.inf, dtype=torch.float64), apart], 1).requires_grad_(True)
    found = mined(wide, torch.arange(4) + 1, 0.5, mining)
    torch.testing.assert_close(found, expected)
    assert torch.isfinite(torch.autograd.grad(found.sum(), wide)[0]).all()
    assert not mined(apart[:1, :1], torch.zeros(1, dtype=torch.int64), 0.5, mining).any()


@pytest.mark.parametrize("mining", ["hard", "all"])
def test_gradcheck_and_closed_form(mining: Mining) -> None:
    a, p, n = drawn(3)
    assert torch.autograd.gradcheck(lambda x, y: mined(distances(x, y), torch.arange(3), 0.9, mining), tensors(a, p))
    assert torch.autograd.gradcheck(lambda x, y, z: triplet(x, y, z, 0.9), tensors(a, p, n))
    equal = torch.ones(4, 4, dtype=torch.float64)
    np.testing.assert_allclose(mined(equal, torch.arange(4), 0.3, mining), 0.3, rtol=1e-12)
