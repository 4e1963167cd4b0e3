"""Intervals of paired runs: against closed forms, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from headstart.studies.layers_paired import Mean, Unit, along, estimate, pooled


def units(means: list[float], images: int = 1000, cell: str | None = None) -> list[Unit]:
    """Units whose values are right or wrong with exactly these shares."""
    return [
        Unit(cell or place, (np.arange(images) < round(mean * images)).astype(np.float64))
        for place, mean in enumerate(means)
    ]


def test_many_images_leave_students_interval_over_units() -> None:
    """With trainings that differ by far more than images explain, it is the t-interval of the units' means."""
    means = [0.5, 0.6, 0.8, 0.9]
    found = estimate(units(means, 100_000), pooled([units(means, 100_000)]))
    low, high = stats.t.interval(0.95, 3, np.mean(means), stats.sem(means))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))
    assert found.p_value == pytest.approx(stats.ttest_1samp(means, 0).pvalue, rel=0.01)


def test_means_of_different_runs_are_compared_as_welch_does() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.5, 0.02, 4), rng.normal(0.4, 0.1, 7)
    means = (Mean(float(x.mean()), float(stats.sem(x)), len(x) - 1.0) for x in (first, second))
    one, other = means
    expected = stats.ttest_ind(first, second, equal_var=False)
    found = one.less(other).told()
    assert found.p_value == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_no_difference_of_shares_is_more_than_all() -> None:
    found = estimate(units([0.5, 0.9]), pooled([units([0.5, 0.9])]))
    assert (found.low, found.high, found.detectable) == (-1, 1, 1)


def test_equal_trainings_leave_the_images() -> None:
    found = estimate(units([0.9]), pooled([units([0.9])]))
    expected = 1.96 * math.sqrt((902 / 1004) * (102 / 1004) / 1000)  # Agresti & Coull: two of each are added
    assert found.high - found.mean == pytest.approx(expected, rel=1e-3)


def test_seeds_that_share_images_do_not_make_them_more() -> None:
    apart, together = (estimate(units([0.9] * 4, cell=cell), pooled([])) for cell in (None, "same"))
    assert together.high - together.mean == pytest.approx(2 * (apart.high - apart.mean))


def test_two_runs_that_agree_everywhere_are_not_equal_to_any_precision() -> None:
    found = estimate([Unit("B", np.zeros(50))], pooled([]))
    assert found.mean == 0
    assert found.p_value == 1
    assert not found.decided
    assert 0.01 < found.high < 0.1


def test_the_spread_is_pooled_over_neighbouring_cuts() -> None:
    cuts = {1: units([0.4, 0.6]), 2: units([0.45, 0.65]), 3: units([0.5, 0.5])}
    assert pooled(list(cuts.values())).variance == pytest.approx((0.02 + 0.02 + 0) / 3)
    assert pooled(list(cuts.values())).dof == 3
    found = along(cuts)
    assert found[3].high - found[3].mean == pytest.approx(stats.t.ppf(0.975, 2) * math.sqrt(0.01 / 2))
    assert found[1].high - found[1].mean == pytest.approx(stats.t.ppf(0.975, 2) * 0.1)  # its own spread is as large


@pytest.mark.parametrize(("seeds", "train"), [(1, 0.02), (3, 0.02), (3, 0.0)])
def test_it_covers_the_truth(seeds: int, train: float) -> None:
    """Paired differences of right-or-wrong answers, seven cuts, two targets: close to 95 of 100 intervals cover."""
    draw, hits, tries = np.random.default_rng(seeds), 0, 0
    for _ in range(60):
        cuts: dict[int, list[Unit]] = {n: [] for n in range(7)}
        for target in "AB":
            ease = draw.beta(4, 1, 200)
            for _ in range(seeds):
                for n in cuts:
                    shift = 0.05 + train * draw.normal()
                    first, second = draw.random(200) < ease, draw.random(200) < ease - shift
                    cuts[n].append(Unit(target, first.astype(float) - second))
        found = along(cuts)
        # a probability cannot fall below nothing, so the true mean is a little less than the shift
        hits += sum(one.low <= 0.0497 <= one.high for one in found.values())
        tries += len(found)
    assert 0.92 <= hits / tries <= 1
