"""Crossing points and extrapolation against curves whose crossing and law are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headstart.metrics.intervals import hierarchical
from headstart.studies.crossings import Redrawn, crossing, cuts, extrapolate, meeting, power_law

SIZES = [50, 100, 200, 400, 800]
X = np.log(np.array(SIZES, float))


def brute(places: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """The best cut on a fine grid, by numerical integration: (gain, place)."""
    fine = np.linspace(places[0], places[-1], 20001)
    d = np.interp(fine, places, values)
    area = np.concatenate([[0.0], np.cumsum((d[1:] + d[:-1]) / 2 * np.diff(fine))])
    gain = np.abs(2 * area - area[-1])
    return float(gain.max()), float(fine[gain.argmax()])


def test_one_crossing_is_the_root() -> None:
    """a - b = 0.1 - 0.1 (x - x0) / (x* - x0) on the logarithmic axis crosses at x*, wherever it is."""
    for root in (60.0, 141.0, 700.0):
        d = 0.05 * (np.log(root) - X)
        place, lead = cuts(X, np.stack([d, -d]))
        np.testing.assert_allclose(np.exp(place), root, rtol=1e-12)
        assert lead.tolist() == [1, -1]


@given(st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=5, max_size=5))
def test_the_cut_gains_most(values: list[float]) -> None:
    d = np.array(values)
    gain, _ = brute(X, d)
    place, lead = (found[0] for found in cuts(X, d[None]))
    fine = np.linspace(X[0], X[-1], 20001)
    line = np.interp(fine, X, d)
    area = np.concatenate([[0.0], np.cumsum((line[1:] + line[:-1]) / 2 * np.diff(fine))])
    mine = abs(2 * np.interp(place, fine, area) - area[-1]) if np.isfinite(place) else abs(area[-1])
    assert mine == pytest.approx(gain, abs=2e-4)
    assert lead in (-1, 0, 1)


def test_a_crossing_at_a_measured_size() -> None:
    place, lead = cuts(X, np.array([[0.2, 0.1, 0.0, -0.1, -0.2]]))
    assert np.exp(place[0]) == pytest.approx(200)
    assert lead[0] == 1


def test_no_crossing() -> None:
    place, lead = cuts(X, np.array([[0.1] * 5, [-0.1, -0.2, -0.1, -0.3, -0.1], [0.0] * 5]))
    assert np.isinf(place).all()
    assert lead.tolist() == [1, -1, 0]


def answers(accuracy: float, draws: int, images: int, seed: int) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random((draws, images)) < accuracy).astype(float)


def test_redrawn_means_are_those_of_the_hierarchical_interval() -> None:
    grid = answers(0.8, 4, 500, 0) * np.array([[1.0], [0.97], [1.0], [0.9]])
    drawn = Redrawn(4, 500, 0, 8000).means(grid)
    known = hierarchical(grid, 1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert low == pytest.approx(known.low, abs=0.12 * (known.high - known.low))
    assert high == pytest.approx(known.high, abs=0.12 * (known.high - known.low))


def test_missing_draws_are_left_out() -> None:
    grid = answers(0.7, 3, 400, 1)
    holed = np.concatenate([grid, np.full((1, 400), np.nan)])
    drawn = Redrawn(4, 400, 0).means(holed)
    assert np.isfinite(drawn).all()
    assert drawn.mean() == pytest.approx(grid.mean(), abs=0.01)


def test_equal_answers_have_no_spread() -> None:
    """Two ways that answer alike differ by exactly nothing, however the images are drawn."""
    assert not Redrawn(3, 100, 0).means(np.zeros((3, 100))).any()


def made(a: list[float], b: list[float], images: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean differences and redrawn ones of two made curves."""
    redrawn = Redrawn(3, images, seed)
    grids = [
        answers(p, 3, images, 100 * seed + 2 * k) - answers(q, 3, images, 100 * seed + 2 * k + 1)
        for k, (p, q) in enumerate(zip(a, b, strict=True))
    ]
    return np.array([grid.mean() for grid in grids]), np.stack([redrawn.means(grid) for grid in grids], 1)


def test_the_interval_covers_a_known_crossing() -> None:
    a, b = [0.60, 0.65, 0.70, 0.75, 0.80], [0.40, 0.52, 0.64, 0.76, 0.88]
    d = np.subtract(a, b)
    truth = float(np.exp(np.interp(0, -d, X)))
    covered, widths = 0, []
    for seed in range(20):
        found = crossing(SIZES, *made(a, b, 1500, seed))
        assert found.images is not None
        assert found.interval is not None
        low, high = found.interval
        assert low is not None
        assert high is not None
        assert found.leads == 1
        covered += low <= truth <= high
        widths.append(high / low)
    assert covered >= 18
    assert max(widths) < 4


def test_no_crossing_is_said_surely_or_not() -> None:
    far = crossing(SIZES, *made([0.9] * 5, [0.6] * 5, 500, 0))
    assert (far.images, far.interval, far.leads) == (None, None, 1)
    assert far.sure > 0.99
    near = crossing(SIZES, *made([0.7] * 5, [0.7] * 5, 100, 1))
    assert near.sure < 0.9


def test_an_end_beyond_the_sizes_is_open() -> None:
    sure = crossing(SIZES, np.array([0.2, 0.1, 0.05, 0.01, -0.001]), np.full((100, 5), 0.1) - np.arange(100)[:, None] * 1e-4)
    assert sure.interval is not None
    assert sure.interval[1] is None


@pytest.mark.parametrize(("scale", "exponent"), [(2.0, 0.5), (0.7, 0.2), (0.5, 0.0)])
def test_a_pure_power_law_is_found(scale: float, exponent: float) -> None:
    n = np.array(SIZES, float)
    law = power_law(SIZES, (scale * n**-exponent)[None])
    assert law(3200)[0] == pytest.approx(scale * 3200**-exponent, rel=1e-6)
    if exponent:
        assert law.floor[0] == 0


def test_a_floor_is_found() -> None:
    n = np.array([100, 400, 1600, 6400, 25600], float)
    errors = 0.05 + 3 * n**-0.6
    law = power_law(n.tolist(), errors[None])
    assert law(102400)[0] == pytest.approx(0.05 + 3 * 102400**-0.6, rel=0.03)
    assert law.floor[0] == pytest.approx(0.05, rel=0.1)


def test_errors_never_rise() -> None:
    law = power_law(SIZES, np.array([[0.1, 0.2, 0.3, 0.35, 0.4]]))
    assert law.exponent[0] == 0
    assert law(1600)[0] == law(100)[0]


def test_three_sizes_have_no_floor() -> None:
    assert power_law([10, 20, 40], np.array([[0.4, 0.31, 0.3]])).floor[0] == 0


def test_extrapolation_contains_its_estimate_and_the_truth() -> None:
    n = np.array(SIZES, float)
    truth = 1 - 1.5 * n**-0.4
    grids = [answers(p, 3, 2000, k) for k, p in enumerate(truth)]
    redrawn = Redrawn(3, 2000, 0)
    drawn = np.stack([redrawn.means(grid) for grid in grids], 1)
    found = extrapolate(SIZES, np.array([grid.mean() for grid in grids]), drawn, [1600, 3200], 1 / 4000)
    for one in found:
        assert one.interval[0] <= one.accuracy <= one.interval[1]
        assert one.interval[0] - 0.01 <= 1 - 1.5 * one.images**-0.4 <= one.interval[1] + 0.01
    assert found[1].interval[1] - found[1].interval[0] > found[0].interval[1] - found[0].interval[0]


def test_perfect_answers_extrapolate_to_nearly_perfect() -> None:
    found = extrapolate(SIZES, np.ones(5), np.ones((10, 5)), [1600], 0.005)
    assert found[0].accuracy == pytest.approx(0.995)


def test_extrapolated_curves_meet_where_their_laws_do() -> None:
    """Errors 0.3 n^0 and 3 n^-0.3 are level at 10^(1/0.3): beyond the 1 600 images measured."""
    sizes = [100, 200, 400, 800, 1600]
    n = np.array(sizes, float)
    mean = [np.full(5, 0.7), 1 - 3 * n**-0.3]
    found = meeting([sizes, sizes], mean, [np.tile(one, (50, 1)) for one in mean], 1, 6400, 0.001)
    assert found is not None
    assert found.images == pytest.approx(10 ** (1 / 0.3), rel=0.02)
    assert found.interval == (found.images, found.images)
    assert meeting([sizes, sizes], mean, [np.tile(one, (5, 1)) for one in mean], 1, 2000, 0.001) is None
    turned = meeting([sizes, sizes], mean[::-1], [np.tile(one, (5, 1)) for one in mean[::-1]], -1, 6400, 0.001)
    assert turned is not None
    assert turned.images == found.images


def test_the_interval_of_an_extrapolated_meeting_covers_it() -> None:
    """Made answers, redrawn as a study does: 95 of 100 intervals should hold the meeting that was made."""
    sizes = [100, 200, 400, 800, 1600]
    n = np.array(sizes, float)
    truth = (np.full(5, 0.62), 1 - 2.2 * n**-0.23)
    place = (2.2 / 0.38) ** (1 / 0.23)
    assert 1600 < place < 6400
    hits = opened = 0
    for seed in range(24):
        redrawn = Redrawn(4, 1500, seed)
        grids = [
            [answers(p, 4, 1500, 1000 * seed + 10 * which + k) for k, p in enumerate(one)] for which, one in enumerate(truth)
        ]
        mean = [np.array([grid.mean() for grid in one]) for one in grids]
        drawn = [np.stack([redrawn.means(grid) for grid in one], 1) for one in grids]
        found = meeting([sizes, sizes], mean, drawn, 1, 6400, 1 / 3000)
        if found is None:
            continue
        low, high = found.interval
        hits += (low or 0) <= place <= (high or np.inf)
        opened += 1
    assert opened > 15
    assert hits / opened >= 0.9
