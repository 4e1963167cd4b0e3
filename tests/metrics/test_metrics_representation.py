"""Numbers about features, against closed forms and a slow reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.metrics.representation import (
    against_chance,
    alignment,
    effective_rank,
    normalised,
    spread,
    uniformity,
)

DRAW = np.random.default_rng(0)


def test_spread_of_even_directions_is_one_and_of_one_point_nothing():
    even = DRAW.normal(size=(20000, 16))
    assert spread(even) == pytest.approx(1.0, abs=0.01)
    assert spread(np.ones((10, 16))) == pytest.approx(0.0, abs=1e-12)


def test_spread_of_plus_and_minus_a_basis_is_exactly_one():
    basis = np.concatenate([np.eye(7), -np.eye(7)])
    assert spread(3.0 * basis) == pytest.approx(1.0, abs=1e-12)


def test_rank_of_orthogonal_directions_of_equal_strength_is_their_number():
    for rank in (1, 2, 5):
        basis = np.zeros((2 * rank, 8))
        basis[np.arange(rank), np.arange(rank)], basis[rank + np.arange(rank), np.arange(rank)] = 1.0, -1.0
        assert effective_rank(basis + 4.0) == pytest.approx(rank, abs=1e-9)


def test_rank_of_two_unequal_directions_is_the_closed_form():
    a, b = 3.0, 1.0
    rows = np.array([[a, 0], [-a, 0], [0, b], [0, -b]])
    p = a / (a + b)
    assert effective_rank(rows) == pytest.approx(math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p)), abs=1e-12)


def test_rank_is_at_most_what_images_and_dimensions_allow_and_one_for_equal_rows():
    assert 1 <= effective_rank(DRAW.normal(size=(5, 64))) <= 4 + 1e-9
    equal = np.tile(DRAW.normal(size=(1, 64)).astype(np.float32), (50, 1))
    assert effective_rank(equal) == 1.0
    assert effective_rank(np.zeros((4, 3))) == 1.0


def test_rank_takes_neither_scale_nor_turning_nor_shift():
    rows = DRAW.normal(size=(40, 6)) * np.array([5, 3, 2, 1, 0.5, 0.1])
    turn, _ = np.linalg.qr(DRAW.normal(size=(6, 6)))
    assert effective_rank(7.0 * rows @ turn + 2.0) == pytest.approx(effective_rank(rows), rel=1e-9)


def test_alignment_of_equal_opposite_and_orthogonal_renderings():
    one = DRAW.normal(size=(9, 5))
    assert alignment(one, 4.0 * one) == pytest.approx(0.0, abs=1e-12)
    assert alignment(one, -one) == pytest.approx(4.0, abs=1e-12)
    assert alignment(np.eye(4), np.roll(np.eye(4), 1, 0)) == pytest.approx(2.0, abs=1e-12)
    with pytest.raises(DataError, match="same images"):
        alignment(one, one[:-1])


def test_uniformity_against_a_loop_and_closed_forms():
    rows = DRAW.normal(size=(12, 4))
    unit = [row / np.linalg.norm(row) for row in rows]
    pairs = [math.exp(-2 * float(((x - y) ** 2).sum())) for i, x in enumerate(unit) for y in unit[:i]]
    assert uniformity(rows) == pytest.approx(math.log(np.mean(pairs)), abs=1e-12)
    assert uniformity(np.ones((5, 3))) == pytest.approx(0.0, abs=1e-12)
    assert uniformity(np.eye(6)) == pytest.approx(-4.0, abs=1e-12)  # all distances are sqrt(2)
    assert uniformity(np.array([[1.0, 0], [-2.0, 0]]), t=3) == pytest.approx(-12.0, abs=1e-12)
    with pytest.raises(DataError, match="pairs"):
        uniformity(rows[:1])


def test_rows_of_zeros_stay_zeros_and_no_numbers_are_refused():
    assert not normalised(np.zeros((3, 2))).any()
    for bad in (np.ones(3), np.empty((0, 3)), np.array([[1.0, np.nan]])):
        with pytest.raises(DataError, match="finite"):
            spread(bad)


def test_loss_against_chance():
    assert against_chance(math.log(4), math.log(4)) == 1.0
    assert against_chance(1.0, None) is None
    assert against_chance(1.0, 0.0) is None
