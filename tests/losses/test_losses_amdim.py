"""AMDIM's scores against their definition one source at a time, closed forms and the penalty's reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.losses.amdim import map_nce, map_scores, raw_penalty, soft_clip
from tests.losses.naive import Array, tensors


def drawn(a: int = 3, n: int = 4, places: int = 5, d: int = 6, scale: float = 2.0) -> tuple[Array, Array, list[int]]:
    draw = np.random.default_rng(0)
    return draw.normal(0, scale, (a, d)), draw.normal(0, scale, (n, places, d)), [2, 0, 3][:a]


def naive(source: Array, targets: Array, own: int, clip: float) -> float:
    """Every place of the own map against all places of all other maps."""

    def score(place: Array) -> float:
        raw = float(source @ place) / math.sqrt(len(source))
        return clip * math.tanh(raw / clip)

    away = sum(math.exp(score(place)) for image, places in enumerate(targets) if image != own for place in places)
    every = [score(place) for place in targets[own]]
    return float(np.mean([-math.log(math.exp(s) / (math.exp(s) + away)) for s in every]))


@pytest.mark.parametrize("clip", [1.0, 4.0, 20.0])
def test_equals_its_definition(clip: float) -> None:
    sources, targets, own = drawn()
    raw = map_scores(*(torch.from_numpy(x) for x in (sources, targets)))
    expected = [naive(source, targets, place, clip) for source, place in zip(sources, own, strict=True)]
    np.testing.assert_allclose(map_nce(raw, torch.tensor(own), clip).numpy(), expected, rtol=1e-10)
    products = [[[(s @ t) ** 2 / 6 for t in image] for image in targets] for s in sources]
    np.testing.assert_allclose(raw_penalty(raw).numpy(), np.mean(products, (1, 2)), rtol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_closed_forms(n: int) -> None:
    """Equal scores: ln(1 + (N - 1) L); with no other image nothing is to be told."""
    raw = torch.full((n, n, 7), 0.4, dtype=torch.float64, requires_grad=True)
    loss = map_nce(raw, torch.arange(n), 20.0)
    np.testing.assert_allclose(loss.detach(), math.log(1 + (n - 1) * 7), rtol=1e-12, atol=1e-12)
    assert torch.isfinite(torch.autograd.grad(loss.sum(), raw)[0]).all()


def test_gradcheck() -> None:
    sources, targets, own = drawn(2, 3, 2, 3)
    places = torch.tensor(own)
    assert torch.autograd.gradcheck(lambda s, t: map_nce(map_scores(s, t), places % 3, 3.0), tensors(sources, targets))


@pytest.mark.parametrize("top", [1e4, -1e4])
def test_the_clip_is_soft_and_the_penalty_sees_beyond_it(top: float) -> None:
    raw = torch.full((2, 3, 4), top, requires_grad=True)
    assert torch.isfinite(map_nce(raw, torch.tensor([0, 1]), 20.0)).all()
    np.testing.assert_allclose(soft_clip(raw.detach(), 20.0), math.copysign(20.0, top))
    np.testing.assert_allclose(soft_clip(torch.tensor(0.01, dtype=torch.float64), 20.0), 0.01, rtol=1e-6)
    gradient = torch.autograd.grad(raw_penalty(raw).sum(), raw)[0]
    assert (gradient.sign() == math.copysign(1, top)).all()
    assert not torch.autograd.grad(map_nce(raw, torch.tensor([0, 1]), 20.0).sum(), raw)[0].any()
