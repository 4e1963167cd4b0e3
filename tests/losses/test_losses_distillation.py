"""Soft and hard distillation against their definitions, the identities between them, and what holds for any logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional as F

from headstart.losses.distillation import entropy, hard_distillation, soft_cross_entropy, soft_kl, standardise
from tests.losses import naive
from tests.losses.naive import Array

TEMPERATURES = [0.5, 1.0, 4.0, 40.0]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_equal_their_definitions(temperature: float) -> None:
    s, t = naive.two()
    x, y = torch.from_numpy(s), torch.from_numpy(t)
    pairs = [(naive.softmax(a, temperature), naive.softmax(b, temperature)) for a, b in zip(t, s, strict=True)]
    expected = [[naive.cross_entropy(p, q), naive.kl(p, q), naive.cross_entropy(p, p)] for p, q in pairs]
    found = [soft_cross_entropy(x, y, temperature), soft_kl(x, y, temperature), entropy(y, temperature)]
    np.testing.assert_allclose(torch.stack(found, 1).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_cross_entropy_is_divergence_plus_the_teachers_entropy_and_has_its_gradient(temperature: float) -> None:
    x, y = naive.tensors(*naive.two())
    cross, divergence = soft_cross_entropy(x, y, temperature), soft_kl(x, y, temperature)
    torch.testing.assert_close(cross - divergence, entropy(y, temperature), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(naive.gradient(cross.sum(), x), naive.gradient(divergence.sum(), x), atol=1e-15)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_gradient_is_the_difference_of_probabilities_over_t(temperature: float) -> None:
    x, y = naive.tensors(*naive.two())
    apart = torch.softmax(x / temperature, 1) - torch.softmax(y / temperature, 1)
    found = naive.gradient(soft_kl(x, y, temperature).sum(), x)
    np.testing.assert_allclose(found, apart.detach().numpy() / temperature, atol=1e-14)


def test_the_mean_over_samples_is_torchs_batchmean_and_c_times_its_mean() -> None:
    s, t = naive.two(c=7)
    log_q, p = torch.log_softmax(torch.from_numpy(s) / 4, 1), torch.softmax(torch.from_numpy(t) / 4, 1)
    found = soft_kl(torch.from_numpy(s), torch.from_numpy(t), 4.0).mean()
    torch.testing.assert_close(found, F.kl_div(log_q, p, reduction="batchmean"))
    torch.testing.assert_close(found, 7 * F.kl_div(log_q, p, reduction="none").mean())


def test_at_large_t_the_gradient_times_t_squared_is_the_centred_difference_of_logits_over_nc() -> None:
    """Hinton et al. 2015, section 2.1. What is left out shrinks like 1 / T."""
    (n, c), (x, y) = (6, 5), naive.tensors(*naive.two(6, 5))
    apart = (x - y).detach().numpy()
    limit = (apart - apart.mean(1, keepdims=True)) / (n * c)
    errors = [
        np.abs(temperature**2 * naive.gradient(soft_kl(x, y, temperature).mean(), x) - limit).max()
        for temperature in (1e2, 1e3, 1e4)
    ]
    assert errors[2] < 1e-4 * np.abs(limit).max() * 10
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 10, rtol=0.1)


def test_at_large_t_entropy_is_ln_c_less_the_variance_over_2_t_squared() -> None:
    """What is left out is the third cumulant over 3 T^3: halving 1 / T divides it by 8."""
    z = torch.from_numpy(naive.two(4, 6)[0])
    variance = z.var(1, correction=0)
    errors = [(entropy(z, t) - (math.log(6) - variance / (2 * t * t))).abs() for t in (50.0, 100.0)]
    assert (errors[0] < 0.1 * variance / 50**2).all()
    np.testing.assert_allclose((errors[0] / errors[1]).numpy(), 8, rtol=0.35)


def test_at_t_40_the_cross_entropy_is_nearly_all_constant() -> None:
    """Why it must not be shown as a distance: two unrelated networks look almost the same as two equal ones."""
    x, y = (torch.from_numpy(z) for z in naive.two(64, 10))
    share = soft_kl(x, y, 40.0).mean() / soft_cross_entropy(x, y, 40.0).mean()
    assert share < 0.01


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradcheck(temperature: float) -> None:
    leaves = naive.tensors(*naive.two(3, 4))
    for loss in (soft_cross_entropy, soft_kl):
        assert torch.autograd.gradcheck(lambda s, t, loss=loss: loss(s, t, temperature), leaves)
    assert torch.autograd.gradcheck(lambda s: entropy(s, temperature), leaves[:1])
    assert torch.autograd.gradcheck(standardise, leaves[:1])
    assert torch.autograd.gradcheck(lambda s: hard_distillation(s, leaves[1].detach()), leaves[:1])


def test_hard_distillation_asks_for_the_teachers_choice() -> None:
    s, t = naive.two()
    expected = [-np.log(naive.softmax(a)[np.argmax(b)]) for a, b in zip(s, t, strict=True)]
    np.testing.assert_allclose(hard_distillation(torch.from_numpy(s), torch.from_numpy(t)).numpy(), expected)


def test_soft_becomes_hard_as_the_teacher_grows_sure() -> None:
    x, y = (torch.from_numpy(z) for z in naive.two())
    torch.testing.assert_close(soft_cross_entropy(x, 1e4 * y, 1.0), hard_distillation(x, y))


LOGITS = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.floats(-50, 50))


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.integers(0, 2**31), st.floats(-100, 100), st.floats(0.3, 50))
def test_order_of_samples_and_classes_and_shifts_do_not_matter(
    logits: Array, seed: int, shift: float, temperature: float
) -> None:
    draw = np.random.default_rng(seed)
    n, c = logits.shape
    x, y = torch.from_numpy(logits), torch.from_numpy(draw.normal(0, 5, (n, c)))
    rows, classes = torch.from_numpy(draw.permutation(n)), torch.from_numpy(draw.permutation(c))
    for loss in (soft_cross_entropy, soft_kl):
        base = loss(x, y, temperature)
        close = {"rtol": 1e-6, "atol": 1e-9}
        torch.testing.assert_close(loss(x[rows], y[rows], temperature), base[rows])
        torch.testing.assert_close(loss(x[:, classes], y[:, classes], temperature), base, **close)
        torch.testing.assert_close(loss(x + shift, y - shift, temperature), base, **close)
        torch.testing.assert_close(loss(temperature * x, temperature * y, temperature), loss(x, y, 1.0), **close)
        assert (base >= -1e-12).all()


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(0.3, 50))
def test_no_divergence_from_oneself_and_entropy_between_zero_and_ln_c(logits: Array, temperature: float) -> None:
    x = torch.from_numpy(logits)
    assert soft_kl(x, x.clone(), temperature).abs().max() == 0
    found = entropy(x, temperature)
    assert (found >= 0).all()
    assert (found <= math.log(logits.shape[1]) + 1e-12).all()
    assert (entropy(x, 2 * temperature) >= found - 1e-12).all()


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(0.1, 10), st.floats(-100, 100))
def test_standardised_logits_have_mean_0_and_variance_1_and_forget_scale_and_shift(
    logits: Array, scale: float, shift: float
) -> None:
    logits = logits + np.arange(logits.shape[1]) * 30  # so that no row is constant
    found = standardise(torch.from_numpy(logits), 0.0)
    np.testing.assert_allclose(found.mean(1).numpy(), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(1, correction=0).numpy(), 1, rtol=1e-9)
    moved = standardise(torch.from_numpy(scale * logits + shift), 0.0)
    torch.testing.assert_close(moved, found, rtol=1e-6, atol=1e-8)


def test_standardising_equal_logits_gives_zeros_and_a_finite_gradient() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    found = standardise(x)
    assert (found == 0).all()
    (gradient,) = torch.autograd.grad(soft_kl(found, torch.from_numpy(naive.two(3, 4)[1]).float(), 2.0).sum(), x)
    assert torch.isfinite(gradient).all()
    assert gradient.norm(dim=1).max() <= 10 * 2**0.5 / 2, "1 / sqrt(eps) times a difference of probabilities over T"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("temperature", [1.0, 40.0])
def test_extreme_logits_stay_finite(dtype: torch.dtype, temperature: float) -> None:
    top = min(torch.finfo(dtype).max, 1e30)
    rows = [[top, -top, 0.0], [-top, -top, -top], [0.0, 0.0, top]]
    x = torch.tensor(rows, dtype=dtype, requires_grad=True)
    teacher = torch.tensor(rows[::-1], dtype=dtype)
    for loss in (soft_cross_entropy(x, teacher, temperature), soft_kl(x, teacher, temperature), entropy(x, temperature)):
        assert torch.isfinite(loss).all()
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert torch.isfinite(gradient).all()


def test_a_teacher_may_exclude_classes() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[0.5, -math.inf, 1.0]], dtype=torch.float64)
    rest = soft_kl(x, teacher, 2.0)
    p = naive.softmax(np.array([0.5, 1.0]), 2.0)
    q = naive.softmax(np.array([1.0, 2.0, 3.0]), 2.0)[[0, 2]]
    np.testing.assert_allclose(rest.detach().numpy(), [naive.kl(p, q)])
    assert np.isfinite(naive.gradient(rest.sum(), x)).all()
    assert torch.isfinite(entropy(teacher, 2.0)).all()
    assert torch.isfinite(soft_cross_entropy(x, teacher, 2.0)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    x, y = (torch.from_numpy(z).to(dtype) for z in naive.two())
    with torch.autocast("cpu", torch.bfloat16):
        found = [soft_cross_entropy(x, y, 4.0), soft_kl(x, y, 4.0), entropy(x, 4.0), standardise(x).sum(1)]
    wide = x.float(), y.float()
    expected = [soft_cross_entropy(*wide, 4.0), soft_kl(*wide, 4.0), entropy(wide[0], 4.0), standardise(wide[0]).sum(1)]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert torch.equal(one, other)


def test_no_samples_no_loss() -> None:
    none = torch.empty(0, 3)
    assert soft_kl(none, none, 4.0).shape == hard_distillation(none, none).shape == (0,)
