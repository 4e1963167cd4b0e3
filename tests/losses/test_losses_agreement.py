"""Losses of two renderings against the papers' equations in loops, closed forms, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headstart.losses.agreement import (
    cosine_course,
    linear_course,
    negative_cosine,
    normalised_error,
    sharpened,
    soft_targets,
)
from tests.losses.naive import softmax, tensors, two


def test_cosine_and_squared_distance_equal_their_definitions() -> None:
    p, z = two(5, 4)
    cosines = [float(a @ b / math.sqrt((a @ a) * (b @ b))) for a, b in zip(p, z, strict=True)]
    apart = [float(((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2).sum()) for a, b in zip(p, z, strict=True)]
    np.testing.assert_allclose(negative_cosine(*tensors(p, z)).detach().numpy(), -np.array(cosines), rtol=0, atol=1e-12)
    np.testing.assert_allclose(normalised_error(*tensors(p, z)).detach().numpy(), apart, rtol=1e-12)


def test_cosine_in_closed_form_and_whatever_the_lengths() -> None:
    x = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([[6.0, 8.0], [0.0, 2.0], [-5.0, -5.0]], dtype=torch.float64)
    assert negative_cosine(x, y).tolist() == pytest.approx([-1.0, 0.0, 1.0])
    assert normalised_error(x, y).tolist() == pytest.approx([0.0, 2.0, 4.0], abs=1e-12)
    torch.testing.assert_close(negative_cosine(7 * x, y / 3), negative_cosine(x, y))


def test_gradients() -> None:
    p, z = tensors(*two(3, 4))
    assert torch.autograd.gradcheck(negative_cosine, (p, z))
    assert torch.autograd.gradcheck(normalised_error, (p, z))
    probabilities = torch.softmax(z.detach(), 1)
    assert torch.autograd.gradcheck(lambda a: soft_targets(a, probabilities, 0.3), (p,))


def test_sharpened_cross_entropy_equals_its_definition() -> None:
    """Caron et al. 2021, algorithm 1: - sum softmax((t - C) / tau_t) log softmax(s / tau_s)."""
    student, teacher = two(4, 6, scale=0.5)
    centre = np.random.default_rng(1).normal(0, 0.3, 6)
    expected = []
    for s, t in zip(student, teacher, strict=True):
        aim, said = softmax(t - centre, 0.04), softmax(s, 0.1)
        expected.append(-sum(a * math.log(b) for a, b in zip(aim, said, strict=True)))
    aims = sharpened(torch.from_numpy(teacher), torch.from_numpy(centre), 0.04)
    found = soft_targets(torch.from_numpy(student), aims, 0.1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(aims.sum(1).numpy(), 1, rtol=1e-12)


def test_a_student_without_opinion_loses_log_k_and_one_that_agrees_the_entropy() -> None:
    aims = torch.softmax(torch.from_numpy(two(5, 8)[0]), 1)
    assert soft_targets(torch.zeros(5, 8), aims, 0.1).tolist() == pytest.approx([math.log(8)] * 5)
    entropies = -(aims * aims.log()).sum(1)
    torch.testing.assert_close(soft_targets(0.1 * aims.log(), aims, 0.1), entropies)


def test_centring_makes_a_class_that_always_wins_even() -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]])
    torch.testing.assert_close(sharpened(logits, logits.mean(0), 0.04), torch.full((2, 3), 1 / 3))


def test_extreme_numbers_and_half_precision_stay_finite() -> None:
    big = torch.tensor([[1e4, -1e4, 0.0]], dtype=torch.bfloat16)
    aims = sharpened(big, torch.zeros(3), 0.04)
    assert aims.dtype == torch.float32
    assert torch.isfinite(soft_targets(big, aims, 0.1)).all()
    assert torch.isfinite(negative_cosine(torch.zeros(1, 3), big)).all()


def test_courses() -> None:
    """Grill et al. 2020: tau = 1 - (1 - tau_base) (cos(pi k / K) + 1) / 2."""
    for progress in (0.0, 0.25, 0.5, 1.0):
        expected = 1 - (1 - 0.996) * (math.cos(math.pi * progress) + 1) / 2
        assert cosine_course(0.996, 1.0, progress) == pytest.approx(expected, abs=1e-15)
        assert linear_course(0.04, 0.07, progress) == pytest.approx(0.04 + 0.03 * progress)
    assert cosine_course(0.9, 1.0, 3.0) == 1.0
    assert linear_course(0.04, 0.07, 2.0) == pytest.approx(0.07)
