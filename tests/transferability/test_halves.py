import math

import numpy as np
import pytest

from headstart.errors import ConfigError, DataError
from headstart.seeding import generator
from headstart.transferability.halves import half_interval, half_samples, share_of
from headstart.transferability.hscore import hscore


def test_halves_of_every_class():
    labels = np.array([0] * 10 + [1] * 3 + [2] * 2 + [3])
    parts = half_samples(labels, 0, count=200)
    assert parts.shape == (200, 16)
    for c, kept in ((0, 5), (1, 2), (2, 1), (3, 1)):
        np.testing.assert_array_equal(parts[:, labels == c].sum(1), kept)
    np.testing.assert_allclose(parts[:, labels == 0].mean(0), 0.5, atol=0.15)  # every image as often
    assert len(np.unique(parts, axis=0)) > 150
    np.testing.assert_array_equal(parts, half_samples(labels, 0, count=200))
    assert (parts != half_samples(labels, 1, count=200)).any()
    assert share_of(parts) == pytest.approx(9 / 16)
    assert share_of(half_samples([0, 1], 0)) == 0.5


def test_groups_stay_together():
    labels = np.repeat([0, 1, 0, 1, 2, 0], 5)
    groups = np.repeat(np.arange(6) * 7, 5)
    groups[labels == 2] = 0  # this group holds classes 0 and 2
    parts = half_samples(labels, 0, groups=groups)
    for group in np.unique(groups):
        inside = parts[:, groups == group]
        assert (inside.all(1) | ~inside.any(1)).all()
    assert parts[:, groups == 0].all()  # the only group of the rarest class
    assert parts[:, labels == 1].sum(1).tolist() == [5] * 50


def test_interval_of_a_mean_is_the_textbook_one():
    """Stratified: the variance within classes is what counts."""
    rng = generator(0, "mean")
    labels = np.arange(400) % 2
    x = rng.standard_normal(400) + 5 * labels
    parts = half_samples(labels, 3, count=2000)
    found = half_interval(x.mean(), [x[p].mean() for p in parts], share_of(parts))
    error = math.sqrt(np.mean([x[labels == c].var(ddof=1) for c in (0, 1)]) / 400)
    assert found.mean == x.mean()
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.06)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert found.method == "half-samples"


def test_a_share_above_a_half_is_made_good():
    rng = generator(1, "thirds")
    labels = np.repeat(np.arange(300), 3)  # two of three images are kept
    x = rng.standard_normal(900)
    parts = half_samples(labels, 0, count=2000)
    found = half_interval(x.mean(), [x[p].mean() for p in parts], share_of(parts))
    within = np.mean([x[labels == c].var(ddof=1) for c in range(300)])
    assert found.high - found.mean == pytest.approx(1.96 * math.sqrt(within / 900), rel=0.06)


def test_covers_what_the_score_is_on_average():
    """H-score of 200 images of 4 features: the intervals of 150 draws hold its mean over draws about 95 times in 100."""
    rng = generator(2, "coverage")
    centres = rng.standard_normal((3, 4))
    labels = np.repeat(np.arange(3), 67)
    found = []
    for draw in range(150):
        f = rng.standard_normal((201, 4)) + centres[labels]
        parts = half_samples(labels, draw, count=30)
        halves = [hscore(f[p], labels[p], 3) for p in parts]
        found.append(half_interval(hscore(f, labels, 3), halves, share_of(parts), limits=(0, 2)))
    truth = np.mean([interval.mean for interval in found])
    covered = np.mean([interval.low <= truth <= interval.high for interval in found])
    assert 0.89 <= covered <= 0.99
    spread = np.std([interval.mean for interval in found])
    told = np.mean([interval.high - interval.low for interval in found]) / 2 / 2.045  # t of 29
    assert 0.9 * spread < told < 1.4 * spread  # wider rather than narrower: a half feels the curvature of the score more


def test_limits_cut_but_keep_the_value_inside():
    found = half_interval(-0.01, [-1.0, 1.0, 0.5], limits=(-math.inf, 0.0))
    assert found.high == 0.0
    assert found.low < -0.5
    assert half_interval(0.001, [-1.0, 1.0], limits=(-math.inf, 0.0)).high == 0.001


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="at least two"):
        half_samples([0], 0)
    with pytest.raises(DataError, match="groups have shape"):
        half_samples([0, 1, 1], 0, groups=[1, 2])
    with pytest.raises(DataError, match="two finite scores"):
        half_interval(0.0, [np.nan, 1.0])
    with pytest.raises(ConfigError, match="share = 1"):
        half_interval(0.0, [0.0, 1.0], 1)
