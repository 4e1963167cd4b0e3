"""The mean relative change of several tasks with an interval."""

import numpy as np
import pytest

from headstart.metrics.delta import Judged, delta_m_interval


def judged(gap: float, count: int = 400, seeds: int = 1, first: int = 0, noise: float = 0.0) -> Judged:
    """A task whose one network is right `gap` more often than its own network (80 %)."""
    draw = np.random.default_rng(first)
    labels = draw.integers(0, 2, count)

    def said(share: float) -> np.ndarray:
        wrong = draw.permutation(count) < round((1 - share) * count)
        return np.where(wrong, 1 - labels, labels)

    return Judged(
        "accuracy",
        np.arange(count) + first,
        labels,
        [said(0.8 + gap + noise * draw.normal()) for _ in range(seeds)],
        [said(0.8) for _ in range(seeds)],
    )


def test_the_estimate_is_the_mean_relative_change_and_the_interval_is_around_it():
    found = delta_m_interval({"a": judged(0.08), "b": judged(-0.04)}, 0)
    assert found.mean == pytest.approx(100 * (0.1 - 0.05) / 2)
    assert found.low < found.mean < found.high


def test_less_is_better_for_errors():
    labels = np.linspace(0, 10, 50)
    one = Judged("mean_absolute_error", np.arange(50), labels, [labels + 1], [labels + 2])
    found = delta_m_interval({"a": one}, 0)
    assert (found.mean, found.low, found.high) == pytest.approx((50, 50, 50))


def test_tasks_about_the_same_images_are_drawn_together():
    """Twice the same task has the interval of one, where two tasks on images of their own have a smaller one."""
    one = judged(0.05, first=3)
    alone, twice = delta_m_interval({"a": one}, 1), delta_m_interval({"a": one, "b": one}, 1)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    other = delta_m_interval({"a": one, "b": judged(0.05, first=1000)}, 1)
    assert other.high - other.low < 0.85 * (alone.high - alone.low)


def test_seeds_that_differ_widen_it():
    still, moving = judged(0.05, seeds=3), judged(0.05, seeds=3, noise=0.05)
    widths = [delta_m_interval({"a": one}, 0) for one in (still, moving)]
    assert widths[1].high - widths[1].low > widths[0].high - widths[0].low
    assert widths[0].method == "hierarchical"


def test_it_covers_the_truth_about_as_often_as_it_says():
    truth = 100 * 0.05 / 0.8
    hits = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        labels = np.zeros(300, int)
        one = Judged(
            "accuracy",
            np.arange(300),
            labels,
            [(draw.random(300) > 0.85).astype(int)],
            [(draw.random(300) > 0.8).astype(int)],
        )
        found = delta_m_interval({"a": one}, seed, draws=400)
        hits += found.low <= truth <= found.high
    assert hits >= 52  # of 60; 57 are expected
