"""How far two programs agree, from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.export.parity import SMALLEST, TOLERANCE, Answers, answers, loss, parity
from headstart.nets.net import InputSpec

BEFORE = np.array([[3, 1], [0, 2], [5, 4], [1, 0]], np.float32)
AFTER = np.array([[3, 1.5], [0, 2], [4, 5], [1, 0]], np.float32)


def both(logits: np.ndarray) -> Answers:
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return logits, shares.astype(np.float32)


def test_numbers_by_hand() -> None:
    found = parity(both(BEFORE), both(AFTER), "photos")
    assert (found.images, found.logits, found.scale, found.agreement) == (4, 1.0, 5.0, 0.75)
    assert found.probability == pytest.approx(np.e / (1 + np.e) - 1 / (1 + np.e), abs=1e-6)
    assert not found.holds
    assert str(found).startswith("parity with PyTorch on 4 images of photos: logits differ by at most 1 (largest 5)")
    assert "4 pictures of noise (no --images)" in str(parity(both(BEFORE), both(AFTER), None))


@given(st.floats(0, 2), st.floats(1e-2, 1e3))
def test_rounding_is_judged_by_the_largest_logit(share: float, scale: float) -> None:
    before = np.array([[scale, 0.0]], np.float64)
    after = before + share * TOLERANCE * max(scale, SMALLEST)
    found = parity((before, before), (after, after), None)  # type: ignore[arg-type]
    if abs(share - 1) > 1e-6:
        assert found.holds == (share < 1)


def test_what_is_no_number_is_no_parity() -> None:
    after = AFTER.copy()
    after[0, 0] = np.nan
    assert not parity(both(BEFORE), both(after), None).holds


def test_loss_of_accuracy_and_without_labels() -> None:
    found = loss(both(BEFORE), both(AFTER), np.array([0, 1, 0, -1]), 0)
    assert (found.images, found.before, found.after) == (3, 1.0, pytest.approx(2 / 3))
    assert found.lost == pytest.approx(1 / 3)
    assert found.difference.low <= found.lost <= found.difference.high
    blind = loss(both(BEFORE), both(AFTER), None, 0)
    assert (blind.images, blind.before, blind.lost) == (4, None, 0.25)
    assert "another class on 25.00 % of 4 images (no labels are known)" in str(blind)
    gained = loss(both(AFTER), both(BEFORE), np.array([0, 1, 0, 0]), 0)
    assert gained.lost == -0.25


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_accuracy_never_falls_by_more_than_answers_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = rng.normal(size=(2, 30, 4))
    truth = rng.integers(0, 4, 30)
    told, blind = (loss(both(before), both(after), labels, 0) for labels in (truth, None))
    assert told.lost <= blind.lost + 1e-12


def test_batches_are_put_together_in_order() -> None:
    sizes = []

    def answer(samples: np.ndarray) -> Answers:
        sizes.append(len(samples))
        return both(np.c_[samples[:, 0], -samples[:, 0]].astype(np.float32))

    x = np.linspace(-1, 1, 150)[:, None] * np.ones((1, 3))
    logits, _ = answers(answer, x, InputSpec(32))
    assert np.array_equal(logits[:, 0], x[:, 0].astype(np.float32))
    assert len(sizes) > 1
    assert max(sizes) <= 64
