"""Cross-entropy against NumPy written from its definition, and what must hold for any logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch.nn import functional as F

from headstart.losses.classification import cross_entropy

Array = NDArray[np.float64]


def reference(logits: Array, targets: Array, smoothing: float, weight: Array | None) -> Array:
    """-sum_c q_c w_c log p_c with q the smoothed target; the smoothed mass weighs like the class it was taken from."""
    out = np.empty(len(logits))
    for i, row in enumerate(logits):
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        total = 0.0
        for c, mass in enumerate(targets[i]):
            w = 1.0 if weight is None else weight[c]
            total -= mass * w * ((1 - smoothing) * log_p[c] + smoothing * log_p.mean())
        out[i] = total
    return out


def problem(soft: bool, n: int = 7, c: int = 5) -> tuple[Array, Array, NDArray[np.int64]]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, c, n)
    targets = draw.dirichlet(np.ones(c), n) if soft else np.eye(c)[labels]
    return draw.normal(0, 3, (n, c)), targets, labels


@pytest.mark.parametrize("soft", [False, True], ids=["numbers", "probabilities"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_its_definition(soft: bool, smoothing: float, weighted: bool) -> None:
    logits, targets, labels = problem(soft)
    weight = np.array([2.0, 0.0, 1.0, 0.5, 3.0]) if weighted else None
    given_targets = torch.from_numpy(targets) if soft else torch.from_numpy(labels)
    found = cross_entropy(
        torch.from_numpy(logits),
        given_targets,
        smoothing=smoothing,
        weight=None if weight is None else torch.from_numpy(weight),
    )
    np.testing.assert_allclose(found.numpy(), reference(logits, targets, smoothing, weight), rtol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_unweighted_it_is_torchs(smoothing: float) -> None:
    logits, _, labels = problem(False)
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)
    expected = F.cross_entropy(x, y, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(x, y, smoothing=smoothing), expected)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient(soft: bool, smoothing: float) -> None:
    logits, targets, labels = problem(soft, 4, 3)
    x = torch.from_numpy(logits).requires_grad_(True)
    y, w = torch.from_numpy(targets if soft else labels), torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, y, smoothing=smoothing, weight=w), (x,))


def test_gradient_is_probability_minus_target() -> None:
    logits, targets, _ = problem(True)
    x = torch.from_numpy(logits).requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(x, torch.from_numpy(targets)).sum(), x)
    np.testing.assert_allclose(gradient.numpy(), torch.softmax(x, 1).detach().numpy() - targets, atol=1e-12)


LOGITS = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-50, 50))


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.randoms(use_true_random=False), st.floats(-100, 100))
def test_permuting_classes_or_samples_and_shifting_logits(logits: Array, random: object, shift: float) -> None:
    draw = np.random.default_rng(abs(hash(str(random))) % 2**32)
    n, c = logits.shape
    labels, weight = draw.integers(0, c, n), draw.uniform(0.1, 2, c)
    x, y, w = map(torch.from_numpy, (logits, labels, weight))
    base = cross_entropy(x, y, smoothing=0.1, weight=w)
    rows, classes = torch.from_numpy(draw.permutation(n)), torch.from_numpy(draw.permutation(c))
    torch.testing.assert_close(cross_entropy(x[rows], y[rows], smoothing=0.1, weight=w), base[rows])
    moved = cross_entropy(x[:, classes], torch.argsort(classes)[y], smoothing=0.1, weight=w[classes])
    torch.testing.assert_close(moved, base)
    torch.testing.assert_close(cross_entropy(x + shift, y, smoothing=0.1, weight=w), base, rtol=1e-6, atol=1e-9)
    assert (base >= 0).all()


@settings(max_examples=50, deadline=None)
@given(LOGITS, st.floats(0, 1))
def test_linear_in_the_target_so_that_mixing_labels_mixes_losses(logits: Array, share: float) -> None:
    """mixup's identity: L(t a + (1 - t) b) = t L(a) + (1 - t) L(b), with class weights and smoothing too."""
    n, c = logits.shape
    x = torch.from_numpy(logits)
    a, b = torch.arange(n) % c, (torch.arange(n) + 1) % c
    one, other = F.one_hot(a, c).double(), F.one_hot(b, c).double()
    weight = torch.linspace(0.2, 2, c, dtype=torch.float64)
    mixed = cross_entropy(x, share * one + (1 - share) * other, smoothing=0.1, weight=weight)
    parts = [cross_entropy(x, labels, smoothing=0.1, weight=weight) for labels in (a, b)]
    torch.testing.assert_close(mixed, share * parts[0] + (1 - share) * parts[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_extreme_logits_stay_finite(dtype: torch.dtype) -> None:
    top = min(torch.finfo(dtype).max, 1e30)
    x = torch.tensor([[top, -top, 0.0], [-top, -top, -top], [0.0, 0.0, top]], dtype=dtype, requires_grad=True)
    for targets in (torch.tensor([0, 1, 2]), torch.eye(3)):
        loss = cross_entropy(x, targets)
        assert torch.isfinite(loss).all()
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    logits, _, labels = problem(False)
    x, y = torch.from_numpy(logits).to(dtype), torch.from_numpy(labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_entropy(x, y)
    assert found.dtype == torch.float32
    assert torch.equal(found, cross_entropy(x.float(), y))


def test_no_samples_no_loss() -> None:
    assert cross_entropy(torch.empty(0, 3), torch.empty(0, dtype=torch.int64)).shape == (0,)
