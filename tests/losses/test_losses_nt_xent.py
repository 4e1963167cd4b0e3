"""NT-Xent against its definition, its golden value and closed forms; parts of a batch; memory that grows with N^2."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from headstart.losses.nt_xent import across, both_ways, nt_xent
from headstart.losses.similarity import Similarity
from tests.losses import naive_contrast
from tests.losses.naive import tensors


def two(n: int = 5, d: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.normal(size=(n, d)), draw.normal(size=(n, d))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_equals_its_definition(similarity: Similarity, temperature: float) -> None:
    one, other = two()
    found = nt_xent(torch.from_numpy(one), torch.from_numpy(other), temperature, similarity).mean()
    assert float(found) == pytest.approx(naive_contrast.nt_xent(one, other, temperature, similarity), abs=1e-9)


def test_golden_value() -> None:
    grid = 1 + 3 * np.arange(4)[:, None] + np.arange(3)
    one, other = torch.from_numpy(np.sin(grid)), torch.from_numpy(np.cos(grid))
    assert float(nt_xent(one, other, 0.5).mean()) == pytest.approx(2.486873, abs=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_closed_forms(n: int) -> None:
    equal = torch.ones(n, 3, dtype=torch.float64)
    assert float(nt_xent(equal, equal, 0.3).mean()) == pytest.approx(math.log(2 * n - 1), abs=1e-12)
    apart = torch.eye(n, dtype=torch.float64)
    expected = -1 / 0.3 + math.log(math.exp(1 / 0.3) + 2 * n - 2)
    assert float(nt_xent(apart, apart, 0.3).mean()) == pytest.approx(expected, abs=1e-9)


def test_gradcheck() -> None:
    one, other = tensors(*two(3, 2))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), (one, other))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.7, "dot"), (one, other))


def test_order_and_sides_do_not_matter_nor_does_length() -> None:
    one, other = (torch.from_numpy(x) for x in two())
    loss = nt_xent(one, other)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(nt_xent(one[order], other[order]), loss[order])
    torch.testing.assert_close(nt_xent(other, one), loss)
    torch.testing.assert_close(nt_xent(7 * one, other / 3), loss)


def test_parts_of_a_batch_have_the_losses_of_the_whole() -> None:
    one, other = (torch.from_numpy(x) for x in two())
    parts = [nt_xent(one[s], other[s], every=(one, other), first=s.start) for s in (slice(0, 2), slice(2, 2), slice(2, 5))]
    torch.testing.assert_close(torch.cat(parts), nt_xent(one, other))


def test_scores_across_have_only_the_other_view() -> None:
    one, other = (torch.from_numpy(x) for x in two())
    scores, positive = across(one, other, 0.5)
    assert scores.shape == (10, 5)
    assert positive.tolist() == [0, 1, 2, 3, 4] * 2
    cosines = [naive_contrast.cosine(one[1].numpy(), other[j].numpy()) / 0.5 for j in range(5)]
    np.testing.assert_allclose(scores[1].numpy(), cosines, rtol=1e-12)
    np.testing.assert_allclose(scores[5 + 1, 3], scores[3, 1], rtol=1e-12)
    assert torch.isneginf(both_ways(one, other, 0.5)[0].diagonal()).all()


@pytest.mark.parametrize("top", [1e4, -1e4])
def test_extremes_are_finite_also_in_half_precision(top: float) -> None:
    one = torch.full((4, 3), top, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = nt_xent(one, one.detach() + 1, 0.05)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss).all()
    assert torch.isfinite(torch.autograd.grad(loss.sum(), one)[0]).all()


def test_memory_grows_with_the_square_of_the_batch() -> None:
    def saved(n: int) -> int:
        sizes: dict[int, int] = {}

        def pack(x: Tensor) -> Tensor:
            sizes[x.data_ptr()] = x.untyped_storage().nbytes()
            return x

        one, other = (torch.randn(n, 2, requires_grad=True) for _ in range(2))
        with saved_tensors_hooks(pack, lambda x: x):
            loss = nt_xent(one, other).mean()
        assert loss.requires_grad
        return sum(sizes.values())

    for n in (64, 128):
        assert 3.5 < saved(2 * n) / saved(n) < 4.3
        assert saved(n) < 1.3 * 4 * (2 * n) ** 2, "more than one number per pair is kept"
