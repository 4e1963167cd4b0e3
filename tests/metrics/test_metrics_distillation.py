"""Agreement, divergence and entropy against sums written out, and what holds for any answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import rel_entr, softmax

from headstart.errors import DataError
from headstart.metrics.distillation import agreement, log_softmax, mean_entropy, mean_kl

LOGITS = arrays(np.float64, (4, 3), elements=st.floats(-50, 50))


def test_by_hand() -> None:
    teacher = np.array([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    student = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert agreement(teacher, student) == 0.5
    kl = 0.0
    for t, s in zip(teacher, student, strict=True):
        p = [math.exp(z) / sum(math.exp(y) for y in t) for z in t]
        q = [math.exp(z) / sum(math.exp(y) for y in s) for z in s]
        kl += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    assert mean_kl(teacher, student) == pytest.approx(kl, rel=1e-12)
    assert mean_entropy(np.zeros((2, 5))) == pytest.approx(math.log(5), rel=1e-12)


@given(LOGITS, LOGITS, st.floats(0.3, 20))
def test_what_always_holds(a: np.ndarray, b: np.ndarray, temperature: float) -> None:
    expected = rel_entr(softmax(a / temperature, 1), softmax(b / temperature, 1)).sum(1).mean()
    if np.isfinite(expected):
        assert mean_kl(a, b, temperature) == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert mean_kl(a, a + 7.0, temperature) == pytest.approx(0, abs=1e-9)
    assert agreement(a, a) == 1.0
    assert agreement(a, b) == agreement(b, a)
    assert 0 <= mean_entropy(a, temperature) <= math.log(3) + 1e-12
    assert mean_entropy(a, temperature) <= mean_entropy(a, 2 * temperature) + 1e-12


def test_extreme_logits_do_not_overflow() -> None:
    assert np.isfinite(log_softmax([[1e6, 0.0]])).all()
    assert mean_kl([[1e4, 0.0]], [[0.0, 1e4]]) == pytest.approx(1e4)


@pytest.mark.parametrize(("a", "b"), [([[1.0, 2.0]], [[1.0]]), ([], []), ([1.0], [1.0])])
def test_other_shapes_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(DataError, match="shapes"):
        agreement(a, b)
    with pytest.raises(DataError, match="finite"):
        log_softmax([[np.nan, 1.0]])
