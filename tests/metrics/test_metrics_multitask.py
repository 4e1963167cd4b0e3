"""Measures of every kind of question by counts, their intervals and paired differences, and the mean relative change."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from headstart.errors import DataError
from headstart.metrics import classification, numbers, ranking
from headstart.metrics.intervals import hierarchical, wilson
from headstart.metrics.measured import MEASURES, measure, statistic
from headstart.metrics.multitask import changes, delta_m, difference, interval
from headstart.metrics.paired import paired_bootstrap

DRAW = np.random.default_rng(0)
CLASSES = DRAW.integers(0, 3, 150)
SAID = np.where(DRAW.random(150) < 0.7, CLASSES, DRAW.integers(0, 3, 150))
YES = DRAW.integers(0, 2, 150)
SCORES = YES + DRAW.normal(0, 1, 150)
VALUES = DRAW.normal(5, 2, 150)
GUESSED = VALUES + DRAW.normal(0, 1, 150)
GIVEN = {"classes": (CLASSES, SAID), "scores": (YES, SCORES), "numbers": (VALUES, GUESSED)}
ALONE = {
    "accuracy": classification.accuracy,
    "balanced_accuracy": lambda labels, said: sk.balanced_accuracy_score(labels, said),
    "average_precision": ranking.average_precision,
    "auc": ranking.auc,
    "mean_absolute_error": numbers.mean_absolute_error,
    "root_mean_squared_error": numbers.root_mean_squared_error,
    "r2": numbers.r2,
}


def given(name):
    return GIVEN[MEASURES[name].answers]


@pytest.mark.parametrize("name", MEASURES)
def test_counts_are_repetitions(name):
    labels, answers = given(name)
    assert measure(name, labels, answers) == pytest.approx(ALONE[name](labels, answers), abs=1e-12)
    times = np.random.default_rng(1).integers(0, 3, (4, 150))
    for found, row in zip(statistic(name, labels, answers)(times.astype(float)), times, strict=True):
        assert found == pytest.approx(ALONE[name](np.repeat(labels, row), np.repeat(answers, row)), abs=1e-10)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "average_precision", "auc"])
def test_several_questions_are_the_mean_over_those_asked_each_where_it_is_known(name):
    draw = np.random.default_rng(2)
    labels, scores = draw.integers(0, 2, (40, 4)), draw.normal(0, 1, (40, 4))
    answers = (scores > 0).astype(int) if MEASURES[name].answers == "classes" else scores
    labels[draw.random((40, 4)) < 0.4] = -1
    labels[:, 3] = -1  # nobody knows
    known = [labels[:, q] != -1 for q in range(3)]
    want = np.mean([ALONE[name](labels[rows, q], answers[rows, q]) for q, rows in enumerate(known)])
    assert measure(name, labels, answers) == pytest.approx(want)
    with pytest.raises(DataError, match="none of the questions"):
        measure(name, np.full((3, 2), -1), np.zeros((3, 2)))


def test_a_question_without_a_yes_is_left_out_of_the_mean_precision():
    labels, scores = np.array([[1, 0], [0, 0], [1, 0]]), np.array([[3, 1], [2, 2], [1, 3]])
    assert measure("average_precision", labels, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(measure("average_precision", labels[:, 1:], scores[:, 1:]))


@pytest.mark.parametrize("name", MEASURES)
def test_intervals_hold_the_measure_and_narrow_with_images(name):
    labels, answers = given(name)
    few, all_ = (interval(name, labels[:n], [answers[:n]], 0, draws=500) for n in (50, 150))
    assert all_.mean == pytest.approx(measure(name, labels, answers))
    assert all_.low < all_.mean < all_.high
    assert all_.high - all_.low < few.high - few.low
    assert interval(name, labels, [answers], 0, draws=500) == all_
    assert all_.method == ("wilson" if name == "accuracy" else "percentile")


def test_the_bootstrap_spread_is_that_of_fresh_images():
    """Root mean squared error of normal errors: its standard error is about sigma / sqrt(2 N)."""
    draw = np.random.default_rng(3)
    errors = draw.normal(0, 2, 2000)
    found = interval("root_mean_squared_error", np.zeros(2000), [errors], 0, draws=1000)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(2 / np.sqrt(2 * 2000), rel=0.1)


def test_several_seeds_are_drawn_too():
    draw = np.random.default_rng(4)
    labels = draw.integers(0, 2, 400)
    networks = [labels * 1.5 + shift * draw.normal(0, 1, 400) for shift in (0.7, 1.0, 1.6)]
    one, three = interval("auc", labels, networks[1:2], 0, draws=500), interval("auc", labels, networks, 0, draws=500)
    assert three.method == "hierarchical"
    assert three.mean == pytest.approx(np.mean([ranking.auc(labels, n) for n in networks]))
    assert three.high - three.low > 2 * (one.high - one.low)


@pytest.mark.parametrize("name", MEASURES)
def test_a_better_network_is_found_better_whatever_the_direction(name):
    labels, worse = given(name)
    better = {"classes": np.where(np.arange(150) % 2, labels, worse), "numbers": (labels + worse) / 2}
    better["scores"] = worse + 1.5 * labels
    answers = better[MEASURES[name].answers]
    found = difference(name, labels, [answers], [worse], 0, draws=500)
    sign = 1 if MEASURES[name].higher else -1
    assert found.mean == pytest.approx(sign * (measure(name, labels, answers) - measure(name, labels, worse)))
    assert found.decided
    assert found.low > 0
    back = difference(name, labels, [worse], [answers], 0, draws=500)
    assert back.mean == pytest.approx(-found.mean)
    assert back.high < 0
    same = difference(name, labels, [worse], [worse], 0, draws=500)
    assert same.mean == 0
    assert not same.decided
    assert same.p_value == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", ["auc", "balanced_accuracy"])
def test_seeds_that_disagree_decide_nothing(name):
    labels, answers = given(name)
    scrambled = np.roll(answers, 1)
    found = difference(name, labels, [answers, scrambled, answers], [scrambled, answers, answers], 0, draws=500)
    assert found.method == "hierarchical"
    assert not found.decided
    assert found.p_value > 0.5
    with pytest.raises(DataError, match="2 networks against 1"):
        difference(name, labels, [answers, answers], [answers], 0)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(DataError, match="measure 'auk' is unknown"):
        measure("auk", YES, SCORES)
    with pytest.raises(DataError, match="must have one shape"):
        measure("auc", YES, SCORES[:3])
    with pytest.raises(DataError, match="auc is not defined on these 150 images"):
        interval("auc", np.ones(150, int), [SCORES], 0, draws=50)
    rare = np.zeros(30, int)
    with pytest.raises(DataError, match="not defined"):
        interval("r2", rare, [SCORES[:30]], 0, draws=50)


def test_mean_relative_change_by_hand():
    """A tenth better in accuracy, a fifth worse in error: -5 %."""
    several, alone = {"digit": 0.88, "age": 6.0}, {"digit": 0.8, "age": 5.0}
    measures = {"digit": "accuracy", "age": "mean_absolute_error"}
    assert changes(several, alone, measures) == pytest.approx({"digit": 0.1, "age": -0.2})
    assert delta_m(several, alone, measures) == pytest.approx(-5.0)
    assert delta_m(alone, alone, measures) == 0
    with pytest.raises(DataError, match=r"(?s)'digit': measure 'acc'.*'age'.*only a change against a positive number"):
        delta_m(several, {"digit": 0.8, "age": 0.0}, {"digit": "acc", "age": "mean_absolute_error"})


@pytest.mark.parametrize("seeds", [1, 3])
def test_agrees_with_the_intervals_of_plain_means(seeds):
    """Accuracy by counts is a mean over images, for which there are other functions to compare with."""
    draw = np.random.default_rng(5)
    labels = draw.integers(0, 2, 300)
    first, second = (
        [np.where(draw.random(300) < share + 0.03 * seed, labels, 1 - labels) for seed in range(seeds)]
        for share in (0.8, 0.7)
    )
    right = [np.stack([one == labels for one in side]).astype(float) for side in (first, second)]
    columns = [[one[:, None] for one in side] for side in (first, second)]  # one question of several: by counts
    found, want = difference("accuracy", labels[:, None], *columns, 0), paired_bootstrap(*right, 0)
    assert (found.method, found.mean) == (want.method, pytest.approx(want.mean))
    assert [found.low, found.high] == pytest.approx([want.low, want.high], abs=0.008)
    assert found.detectable == pytest.approx(want.detectable, rel=0.1)
    assert found.p_value == pytest.approx(want.p_value, abs=0.01)
    one = interval("accuracy", labels[:, None], columns[0], 0)
    plain = hierarchical(right[0], 0) if seeds > 1 else wilson(int(right[0].sum()), 300)
    assert [one.low, one.high] == pytest.approx([plain.low, plain.high], abs=0.008)
