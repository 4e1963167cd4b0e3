"""The mean relative change of several tasks with an interval."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.metrics.delta import Judged, delta_m_interval
from headstart.metrics.intervals import normal_quantile, t_quantile
from headstart.metrics.multitask import delta_m, difference


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


def test_two_seeds_that_every_image_agrees_about():
    """No spread over images: the ends are those of Student's t with one degree of freedom, times the drawn ones."""
    labels = np.linspace(0, 10, 40)
    one = Judged("mean_absolute_error", np.arange(40), labels, [labels + 1, labels + 0.5], [labels + 2] * 2)
    found = delta_m_interval({"a": one}, 0)
    # Changes of 50 and 75 %, moved apart by sqrt(2); of two seeds drawn from two, one in four draws is the first twice.
    reach = t_quantile(0.975, 1) / normal_quantile(0.975) * math.sqrt(2) * (75 - 50) / 2
    assert (found.mean, found.low, found.high) == pytest.approx((62.5, 62.5 - reach, 62.5 + reach))


def noisy(seeds: int, draw: np.random.Generator, spread: float, images: int = 250) -> Judged:
    """Networks right about images that are hard for all alike; those of a seed are better or worse by `spread`."""
    hard = draw.normal(size=images)

    def right(level: float) -> np.ndarray:
        own = 0.8 * draw.normal(size=images) + 0.6 * hard
        return (own + level + spread * draw.normal() > 0).astype(int)

    sides = [[right(level) for _ in range(seeds)] for level in (1.0, 0.8)]
    return Judged("accuracy", np.arange(images), np.ones(images, int), *sides)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_against_networks_that_are_always_right_it_is_the_interval_of_the_difference(seeds: int):
    """Then the relative change is the plain difference in percent, whose interval is made in the same way."""
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 2, 300)
    several = [np.where(draw.random(300) < 0.1 + 0.05 * seed, 1 - labels, labels) for seed in range(seeds)]
    found = delta_m_interval({"a": Judged("balanced_accuracy", np.arange(300), labels, several, [labels] * seeds)}, 0)
    gap = difference("balanced_accuracy", labels, several, [labels] * seeds, 0)
    assert found.mean == pytest.approx(100 * gap.mean)
    assert (found.high - found.low) == pytest.approx(100 * (gap.high - gap.low), rel=0.08)


def test_seeds_that_agree_make_it_no_wider_than_one_seed_with_its_images():
    """Two seeds with the same answers are one: the interval is that of the images, and not of Student's t."""
    one = noisy(1, np.random.default_rng(1), 0.0)
    twice = Judged(one.measure, one.images, one.labels, [*one.several] * 2, [*one.alone] * 2)
    widths = [found.high - found.low for found in (delta_m_interval({"a": judged}, 0) for judged in (one, twice))]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_the_estimate_is_the_change_of_means_and_not_the_mean_of_changes():
    one = noisy(3, np.random.default_rng(2), 0.8)
    several, alone = (float(np.mean([np.mean(said) for said in side])) for side in (one.several, one.alone))
    expected = delta_m({"a": several}, {"a": alone}, {"a": "accuracy"})
    assert delta_m_interval({"a": one}, 0, draws=50).mean == pytest.approx(expected)


@pytest.mark.parametrize(("spread", "least", "widest"), [(0.0, 0.93, 25), (0.2, 0.88, 90)])
def test_with_two_seeds_it_covers_the_truth_about_as_often_as_it_says(spread: float, least: float, widest: float):
    """60 repetitions; 95 % +- 2.8 are expected of an exact interval.

    One that knew how seeds and images spread would be 12 and 32 % wide.
    """
    shares = [NormalDist(sigma=math.sqrt(1 + spread**2)).cdf(level) for level in (1.0, 0.8)]
    truth, hits, widths = 100 * (shares[0] / shares[1] - 1), 0, []
    for repetition in range(60):
        one = noisy(2, np.random.default_rng(repetition), spread)
        found = delta_m_interval({"a": one}, repetition, draws=200)
        hits += found.low <= truth <= found.high
        widths.append(found.high - found.low)
    assert hits / 60 >= least
    assert np.median(widths) < widest


def test_what_most_draws_do_not_define_is_refused():
    labels = np.array([1] + [0] * 30)
    one = Judged("average_precision", np.arange(31), labels, [labels * 1.0], [labels * 1.0])
    assert delta_m_interval({"a": one}, 0).mean == 0
    never = Judged("accuracy", np.arange(1, 32), labels, [labels], [np.where(labels == 1, 1, 1 - labels)])
    with pytest.raises(DataError, match="mean relative change is not defined in most draws"):
        delta_m_interval({"a": one, "b": never}, 3, draws=40)
