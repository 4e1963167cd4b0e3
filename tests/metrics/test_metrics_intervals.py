import numpy as np
import pytest
from scipy import stats

from headstart.errors import DataError
from headstart.metrics import intervals as iv
from headstart.metrics.classification import accuracy_of, balanced_accuracy_of
from headstart.seeding import generator


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (7, 20), (81, 263), (9173, 10000)])
def test_wilson_agrees_with_scipy(hits, trials):
    want = stats.binomtest(hits, trials).proportion_ci(method="wilson")
    got = iv.wilson(hits, trials)
    assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=1e-12)
    assert got.low <= got.mean <= got.high


def test_wilson_published_value():
    # Newcombe 1998, table I, 81 of 263, method 3: .2553 to .3662
    got = iv.wilson(81, 263)
    assert (round(got.low, 4), round(got.high, 4)) == (0.2553, 0.3662)


def test_bootstrap_of_a_mean_agrees_with_scipy():
    sample = generator(0, "skewed").exponential(size=40)
    want = stats.bootstrap((sample,), np.mean, n_resamples=40_000, method="BCa", rng=1).confidence_interval
    for got in (
        iv.bootstrap_mean(sample, 0, draws=40_000),
        iv.bootstrap(sample, lambda many: many.mean(1), 0, draws=20_000),
    ):
        assert (got.low, got.high) == pytest.approx((want.low, want.high), abs=0.02)
    plain = iv.bootstrap_mean(sample, 0, draws=40_000, method="percentile")
    want = stats.bootstrap((sample,), np.mean, n_resamples=40_000, method="percentile", rng=1).confidence_interval
    assert (plain.low, plain.high) == pytest.approx((want.low, want.high), abs=0.02)


def test_bootstrap_of_a_constant_sample_is_a_point():
    got = iv.bootstrap_mean(np.ones(10), 0)
    assert (got.low, got.mean, got.high) == (1.0, 1.0, 1.0)


def test_drawing_patterns_is_drawing_images():
    """The mean of 0/1 values over redrawn images is binomial, whichever way it is drawn."""
    right = np.repeat([1.0, 0.0], [30, 10])
    nearly = right + np.arange(40) * 1e-9  # every image its own pattern: the other way of drawing
    for values in (right, nearly):
        got = iv.bootstrap_mean(values, 3, draws=40_000, method="percentile", level=0.9)
        want = stats.binom(40, 0.75).ppf([0.05, 0.95]) / 40
        assert (got.low, got.high) == pytest.approx(tuple(want), abs=1e-6)


def test_bootstrap_confusion():
    counts = np.array([[40, 10], [5, 15]])
    got = iv.bootstrap_confusion(counts, accuracy_of, 0, draws=20_000)
    wide = iv.wilson(55, 70)
    assert got.mean == pytest.approx(55 / 70)
    assert (got.low, got.high) == pytest.approx((wide.low, wide.high), abs=0.03)
    both = iv.bootstrap_confusion(counts, balanced_accuracy_of, 0)
    assert both.mean == pytest.approx(0.5 * (0.8 + 0.75))
    assert both.low < both.mean < both.high


def test_same_seed_same_numbers():
    sample = generator(0, "x").random(50)
    assert iv.bootstrap_mean(sample, 1) == iv.bootstrap_mean(sample, 1) != iv.bootstrap_mean(sample, 2)


def test_folds_closed_form():
    scores = np.array([0.8, 0.82, 0.79, 0.85, 0.81])
    got = iv.over_folds(scores, train_size=80, test_size=20)
    half = stats.t(4).ppf(0.975) * np.sqrt((1 / 5 + 0.25) * scores.var(ddof=1))
    assert (got.mean - got.low, got.high - got.mean) == pytest.approx((half, half))
    assert str(got).startswith("0.814 (95 %: 0.7")


def test_coverage():
    """Intervals cover the truth about as often as they say."""
    rng, rounds = generator(0, "coverage"), 300
    covered = {"wilson": 0, "bca": 0, "hierarchical": 0}
    for number in range(rounds):
        right = rng.random(60) < 0.9
        covered["wilson"] += iv.wilson(int(right.sum()), 60).low <= 0.9 <= iv.wilson(int(right.sum()), 60).high
        interval = iv.bootstrap_mean(rng.exponential(size=60), number, draws=1000)
        covered["bca"] += interval.low <= 1.0 <= interval.high
        # seeds and images both matter, as for three training runs judged on the same images
        grid = rng.normal(0, 0.3, (3, 1)) + rng.normal(0, 1, (1, 60)) + rng.normal(0, 0.5, (3, 60))
        interval = iv.hierarchical(grid, number, draws=1000)
        covered["hierarchical"] += interval.low <= 0 <= interval.high
    assert {name: 0.90 <= count / rounds <= 0.995 for name, count in covered.items()} == dict.fromkeys(covered, True), (
        covered
    )


def test_three_seeds_that_disagree_are_not_certain():
    grid = np.array([0.80, 0.84, 0.88])[:, None] + np.zeros((3, 1000))
    got = iv.hierarchical(grid, 0)
    want = stats.t(2).ppf(0.975) * 0.04 / np.sqrt(3)
    assert got.high - got.mean == pytest.approx(want, rel=0.15)
    assert iv.hierarchical(np.full((3, 10), 0.5), 0).high == 0.5


@pytest.mark.parametrize(
    "call",
    [
        lambda: iv.wilson(5, 0),
        lambda: iv.wilson(6, 5),
        lambda: iv.wilson(1, 2, level=95),
        lambda: iv.bootstrap_mean([], 0),
        lambda: iv.bootstrap_mean([np.nan], 0),
        lambda: iv.bootstrap_mean([1.0, 2.0], 0, method="no"),
        lambda: iv.bootstrap([1.0], lambda m: m.mean(1), 0),
        lambda: iv.hierarchical([1.0, 2.0], 0),
        lambda: iv.over_folds([1.0], 80, 20),
        lambda: iv.over_folds([1.0, 2.0], 0, 20),
        lambda: iv.bootstrap_confusion(np.zeros((2, 2), int), accuracy_of, 0),
    ],
)
def test_wrong_input_is_refused(call):
    with pytest.raises(DataError):
        call()
