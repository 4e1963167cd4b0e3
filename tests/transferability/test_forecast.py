"""The forecast: ridge regression in closed form, data sets left out, intervals that hold what they promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.transferability.evidence import Evidence, logit
from headstart.transferability.forecast import CLOSE, REACH, Case, Forecast, Forecaster, fit

MEASURES = ("images per class", "raw pixels")


def case(target: str, per_class: int, pixels: float, accuracy: dict[str, float], probe: float = 0.6) -> Case:
    evidence = Evidence.of(10 * per_class, [per_class] * 10, [0.3, probe], 1000, pixels=pixels)
    return Case("source", target, evidence, accuracy, 1000)


def made(sets: int, seed: int = 0, spread: float = 0.4) -> list[Case]:
    """Data sets that share a truth: full gains with images per class, and each has its own luck."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(sets):
        luck, pixels, probe = rng.normal(0, spread, 2), rng.uniform(0.1, 0.6), rng.uniform(0.4, 0.8)
        for per_class in (5, 25, 125):
            base = logit(probe, 10 * per_class)
            logits = base + np.array([0.0, -0.7 + 0.8 * np.log10(per_class)]) + luck
            probe_, full = 1 / (1 + np.exp(-logits))
            found.append(case(f"set {number}", per_class, pixels, {"probe": probe_, "full": full}, probe))
    return found


def by_hand(cases: list[Case], strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(centre, scale, weights) of the penalised least squares problem, solved as one of ordinary least squares."""
    raw = np.array([[np.log10(c.evidence.typical), logit(c.evidence.pixels or 0.0, c.evidence.images)] for c in cases])
    centre, scale = raw.mean(0), raw.std(0)
    x = np.column_stack([np.ones(len(raw)), np.clip((raw - centre) / scale, -REACH, REACH)])
    base = np.array([logit(c.evidence.probe_last, c.evidence.images) for c in cases])
    y = np.array([[logit(v, c.tested) for v in c.accuracy.values()] for c in cases]) - base[:, None]
    names = [c.target for c in cases]
    weight = np.array([1 / names.count(name) for name in names])
    weight = np.sqrt(weight / weight.mean())[:, None]
    penalty = np.sqrt(strength * len(cases) / 36) * np.eye(3)[1:]
    return (
        centre,
        scale,
        np.linalg.lstsq(np.vstack([weight * x, penalty]), np.vstack([weight * y, np.zeros((2, 2))]), rcond=None)[0],
    )


def test_ridge_regression_with_data_sets_of_equal_weight() -> None:
    cases = made(4)[:-1]  # the last data set has fewer cases, each of which counts more
    found = fit(cases, MEASURES, strength=2.0)
    centre, scale, weights = by_hand(cases, 2.0)
    np.testing.assert_allclose(found.weights, weights, atol=1e-10)
    asked = cases[0].evidence
    x = (np.array([np.log10(asked.typical), logit(asked.pixels or 0.0, asked.images)]) - centre) / scale
    expected = logit(asked.probe_last, asked.images) + np.array([1.0, *x]) @ weights
    np.testing.assert_allclose(found.predict(asked), expected, atol=1e-10)


def test_misses_are_those_of_regressions_that_have_not_seen_the_data_set() -> None:
    cases = made(4)
    found = fit(cases, MEASURES)
    others = [c for c in cases if c.target != "set 2"]
    apart = fit(others, MEASURES)
    for row, one in enumerate(cases):
        if one.target == "set 2":
            truth = np.array([logit(v, one.tested) for v in one.accuracy.values()])
            np.testing.assert_allclose(found.misses[row], truth - apart.predict(one.evidence), atol=1e-12)
    tripled = fit([*others, *[replace(c, target="set 2") for c in others]], MEASURES)
    assert len(tripled.misses) == 2 * len(others)


def test_a_new_data_set_falls_into_the_interval_as_often_as_promised() -> None:
    inside = []
    for seed in range(60):
        cases = made(13, seed)
        found = fit(cases[:-3], MEASURES)
        for one in cases[-3:]:
            low, high = found.forecast(one.evidence).interval("full")
            inside.append(low <= one.accuracy["full"] <= high)
    assert 0.72 < np.mean(inside) < 0.9  # 60 independent data sets: standard error .05


def test_probabilities_by_counting_and_no_surer_than_so_many_data_sets_allow() -> None:
    drawn = np.array([[0.9, 0.8], [0.7, 0.705], [0.6, 0.7], [0.8, 0.6]])
    forecast = Forecast(("full", "probe"), np.array([0.75, 0.7]), drawn, 9)
    assert forecast.expected("probe") == 0.7
    assert forecast.probability_best("full") == 0.5
    assert forecast.sure("full") == (9 * 0.75 + 0.5) / 10  # in the second outcome it is half a point behind
    assert CLOSE == 0.01
    low, high = forecast.interval("full", 0.5)
    assert (low, high) == tuple(np.quantile(drawn[:, 0], [0.25, 0.75]))
    always = Forecast(("a", "b", "c"), np.array([0.9, 0.5, 0.4]), np.array([[0.9, 0.5, 0.4]] * 7), 9)
    assert always.sure("a") == 0.95
    chances = [always.probability_best(name) for name in "abc"]
    assert chances == pytest.approx([28 / 30, 1 / 30, 1 / 30])


def test_the_interval_holds_the_expectation_even_when_all_misses_lie_on_one_side() -> None:
    forecast = Forecast(("a",), np.array([0.5]), np.array([[0.6], [0.7]]), 2)
    assert forecast.interval("a")[0] == 0.5


def test_best_first() -> None:
    found = fit(made(5), MEASURES).forecast(case("new", 125, 0.3, {}).evidence)
    assert found.strategies[0] == "full"
    assert list(found.mean) == sorted(found.mean, reverse=True)
    few = fit(made(5), MEASURES).forecast(case("new", 2, 0.3, {}).evidence)
    assert few.strategies[0] == "probe"


def test_nothing_is_expected_to_do_worse_than_guessing() -> None:
    """Of two classes one half is right by chance, whatever a line says that was learned from ten."""
    evidence = Evidence.of(20, [10, 10], [0.5, 0.5], 1000, pixels=0.99)
    found = fit(made(5, spread=3.0), MEASURES).forecast(evidence)
    assert found.mean.min() >= 0.5
    assert found.drawn.min() >= 0.5


def test_the_line_is_not_followed_beyond_where_it_was_learned() -> None:
    found = fit(made(5), MEASURES)
    far, farther = (case("new", 125, pixels, {}).evidence for pixels in (0.9999, 1.0))
    np.testing.assert_allclose(found.predict(far), found.predict(farther))


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({}, True),
        ({"pixels": None}, False),
        ({"pretrained": False}, False),
        ({"images": 12_600}, False),
        ({"typical": 0.5}, False),
    ],
)
def test_where_experience_ends(changes: dict[str, object], reached: bool) -> None:
    found: Forecaster = fit(made(3), MEASURES)
    assert found.reaches(replace(case("new", 25, 0.3, {}).evidence, **changes)) is reached  # type: ignore[arg-type]


def test_too_few_data_sets_and_missing_measures_are_refused() -> None:
    with pytest.raises(DataError, match="2 data sets are too few"):
        fit(made(2), MEASURES)
    with pytest.raises(DataError, match="needs LogME, which was not measured"):
        fit(made(3), ("LogME",))
