"""Average precision, ROC and errors of numbers against scikit-learn, ties and repeated images included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.metrics import numbers as n
from headstart.metrics import ranking as r


def drawn(seed: int, count: int = 60, levels: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.r_[0, 1, draw.integers(0, 2, count - 2)]
    scores = draw.normal(0, 1, count) + labels
    return labels, scores if levels is None else np.round(scores * levels) / levels


@pytest.mark.parametrize("levels", [None, 2, 1])
@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_scikit_learn(seed: int, levels: int | None) -> None:
    labels, scores = drawn(seed, 5 + 10 * seed, levels)
    assert r.average_precision(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores), abs=1e-12)
    assert r.auc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_area_is_the_share_of_pairs_in_order(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = [int(yes) for yes, _ in pairs], [score for _, score in pairs]
    ups, downs = ([s for y, s in zip(labels, scores, strict=True) if y == k] for k in (1, 0))
    want = [1.0 if a > b else 0.5 if a == b else 0.0 for a in ups for b in downs]
    found = r.auc(labels, scores)
    assert np.isnan(found) if not want else found == pytest.approx(np.mean(want))


def test_by_hand() -> None:
    # yes at ranks 1 and 3: precision 1 and 2/3
    assert r.average_precision([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 + 2 / 3) / 2)
    assert r.auc([1, 0, 1, 0], [4, 3, 2, 1]) == pytest.approx(3 / 4)
    assert r.average_precision([1, 0, 1, 0], [7, 7, 7, 7]) == 0.5
    assert np.isnan(r.average_precision([0, 0], [1, 2]))
    assert np.isnan(r.auc([1, 1], [1, 2]))


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_repetitions(seed: int) -> None:
    labels, scores = drawn(seed, 25, 2)
    times = np.random.default_rng(seed).integers(0, 4, (3, 25))
    one = r.ranked(labels, scores)
    for found, measure in ((one.average_precision(times.astype(float)), r.average_precision), (one.auc(times + 0.0), r.auc)):
        for value, row in zip(found, times, strict=True):
            assert value == pytest.approx(measure(np.repeat(labels, row), np.repeat(scores, row)), abs=1e-12)


@pytest.mark.parametrize("levels", [None, 2])
def test_the_whole_curve_is_that_of_scikit_learn(levels: int | None) -> None:
    labels, scores = drawn(3, 80, levels)
    found = r.roc(labels, scores, 1000)
    false, true, threshold = sk.roc_curve(labels, scores, drop_intermediate=False)
    kept = np.isin(threshold, found.threshold)
    np.testing.assert_allclose(found.false_positive, false[kept])
    np.testing.assert_allclose(found.true_positive, true[kept])
    # What was left out lies on a straight part: where neither rate has a corner.
    dropped = np.flatnonzero(~kept)
    before, after = (np.array([np.flatnonzero(kept)[np.flatnonzero(kept) < d][-1] for d in dropped], int), dropped + 1)
    rise = (true[dropped] - true[before]) * (false[after] - false[dropped])
    np.testing.assert_allclose(rise, (true[after] - true[dropped]) * (false[dropped] - false[before]), atol=1e-12)
    assert np.trapezoid(found.true_positive, found.false_positive) == pytest.approx(r.auc(labels, scores))


def test_a_thinned_curve_keeps_its_ends_and_is_a_part_of_the_whole() -> None:
    labels, scores = drawn(0, 5000)
    whole, thin = r.roc(labels, scores, 10**6), r.roc(labels, scores, 50)
    assert len(thin.threshold) <= 50
    assert set(zip(thin.false_positive, thin.true_positive, strict=True)) <= set(
        zip(whole.false_positive, whole.true_positive, strict=True)
    )
    assert [thin.false_positive[0], thin.true_positive[0], thin.false_positive[-1], thin.true_positive[-1]] == [0, 0, 1, 1]
    assert np.trapezoid(thin.true_positive, thin.false_positive) == pytest.approx(r.auc(labels, scores), abs=5e-3)


def test_what_cannot_be_ranked_is_refused() -> None:
    for labels, scores, said in (
        ([0, 2], [1, 2], "0 or 1"),
        ([0, 1], [np.nan, 2], "1 of 2 scores"),
        ([0, 1], [1, 2, 3], "equally long"),
        ([], [], "not empty"),
    ):
        with pytest.raises(DataError, match=said):
            r.auc(labels, scores)
    with pytest.raises(DataError, match="all 2 answers are yes"):
        r.roc([1, 1], [1, 2])


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_numbers_agree_with_scikit_learn(shift: float) -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(3, 2, 40) + shift
    said = truth + draw.normal(0, 0.5, 40)
    assert n.mean_absolute_error(truth, said) == pytest.approx(sk.mean_absolute_error(truth, said))
    assert n.root_mean_squared_error(truth, said) == pytest.approx(sk.root_mean_squared_error(truth, said))
    assert n.r2(truth, said) == pytest.approx(sk.r2_score(truth, said), abs=1e-9)
    assert n.r2(truth, np.full(40, truth.mean())) == pytest.approx(0, abs=1e-9)


def test_numbers_by_hand() -> None:
    assert n.mean_absolute_error([1, 2, 3], [1, 4, 2]) == pytest.approx(1)
    assert n.root_mean_squared_error([1, 2, 3], [1, 4, 2]) == pytest.approx(np.sqrt(5 / 3))
    assert n.r2([1, 2, 3], [1, 4, 2]) == pytest.approx(1 - 5 / 2)
    assert np.isnan(n.r2([2, 2], [1, 3]))
    with pytest.raises(DataError, match="1 of 2 labels are not finite"):
        n.mean_absolute_error([1, np.nan], [1, 2])
