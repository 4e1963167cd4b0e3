"""What a comparison concludes: the same numbers as the race of `adapt`, and never surer than they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.metrics.paired import corrected_t, holm
from headstart.studies import verdict
from headstart.studies.compare_records import sentence
from headstart.studies.compared import Entry, between, difference, interval_of, pairs_of, stand
from headstart.studies.costs import Course
from headstart.studies.race import Standing
from tests.studies.toys import arm, folds_of, standing


def entry(name: str, *seeds: tuple[int, ...], flops: float = 0.0) -> Entry:
    """An arm that got so many of 40 images right on each fold, once for every seed."""
    trials = {
        (number, fold): trial
        for number, right in enumerate(seeds)
        for fold, trial in standing(arm(name), right, seed=11 * number).trials.items()
    }
    return Entry(arm(name), trials, course=Course(flops, 0))


def as_standing(one: Entry) -> Standing:
    return Standing(one.arm, {fold: trial for (_, fold), trial in one.trials.items()}, "finished")


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_with_one_seed_it_is_what_the_race_says(folds: int) -> None:
    parts = folds_of(folds)
    a, b = entry("a", (36, 35, 38, 33, 37)[:folds]), entry("b", (30, 31, 36, 28, 35)[:folds])
    assert difference(a, b, parts, 3) == verdict.difference(as_standing(a), as_standing(b), parts, 3)
    assert interval_of(a, parts) == verdict.interval_of(as_standing(a), parts)
    assert a.mean == pytest.approx(np.mean(a.scores))


def test_seeds_are_averaged_on_a_fold_before_folds_are_compared() -> None:
    parts = folds_of(4)
    a, b = entry("a", (36, 35, 38, 33), (30, 37, 36, 35)), entry("b", (30, 31, 30, 28), (28, 30, 33, 31))
    found = difference(a, b, parts, 0)
    right = np.array([[[36, 35, 38, 33], [30, 37, 36, 35]], [[30, 31, 30, 28], [28, 30, 33, 31]]])
    means = right.mean(1) / 40
    by_folds = corrected_t(*means, 120, 40)
    assert found.p_value >= by_folds.p_value  # the more cautious of the two counts
    assert found.mean == pytest.approx(means[0].mean() - means[1].mean())
    assert a.values.shape == (2, 160)


def test_all_pairs_share_one_correction() -> None:
    parts = folds_of(5)
    some = [entry("a", (38, 38, 37, 38, 38)), entry("b", (30, 31, 30, 29, 31)), entry("c", (31, 31, 30, 29, 30))]
    pairs = pairs_of(some, parts, 0)
    assert list(pairs) == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [difference(x, y, parts, 0).p_value for x, y in ((some[0], some[1]), (some[0], some[2]), (some[1], some[2]))]
    assert [one.p_value for one in pairs.values()] == pytest.approx(holm(raw), abs=2e-3)  # their bootstraps differ by seed
    ahead, decided, _ = between(pairs, "b", "a")
    assert ahead == pytest.approx(some[1].mean - some[0].mean)
    assert decided


def test_the_best_is_told_apart_or_not() -> None:
    parts = folds_of(5)
    clear = [entry("a", (38, 38, 37, 38, 38)), entry("b", (30, 31, 30, 29, 31)), entry("c", (31, 31, 30, 29, 30))]
    pairs = pairs_of(clear, parts, 0)
    found = stand(clear, pairs)
    assert (found.best, found.equals, found.suggested, found.decided) == ("a", ["a"], "a", True)
    said = sentence(clear, pairs, found)
    assert said.startswith("a is best, told apart from every other: +19.")
    assert said.endswith("against b, the next.")
    close = [entry("a", (36, 35, 37, 36, 36), flops=9.0), entry("b", (36, 36, 36, 35, 36), flops=2.0)]
    pairs = pairs_of(close, parts, 0)
    found = stand(close, pairs)
    assert (found.best, found.equals, found.suggested, found.decided) == ("a", ["a", "b"], "b", False)
    said = sentence(close, pairs, found)
    assert said.startswith("Undecided: a has the highest mean, but cannot be told from b (+0.5 points, ")
    assert said.endswith(" points. Cheapest to train of these: b.")


def test_a_lead_that_the_correction_takes_away_is_said_to_be_that() -> None:
    parts = folds_of(5)
    some = [entry(name, (36, 35, 37, 36, 36)) for name in "abcdefgh"]
    some[1] = entry("b", (33, 34, 34, 34, 33))
    pairs = pairs_of(some, parts, 0)
    alone = difference(some[0], some[1], parts, 0)
    changed = {**pairs, ("a", "b"): replace(pairs["a", "b"], decided=False)}
    assert alone.low > 0
    said = sentence(some, changed, stand(some, changed))
    assert "3 more, and corrected for 28 comparisons neither from b" in said
    assert len(pairs) == 28


def test_without_rivals_nothing_is_decided() -> None:
    alone = [entry("a", (36, 35))]
    assert sentence(alone, {}, stand(alone, {})) == "Only a could be measured to the end, so nothing is compared."
    assert sentence([], {}, stand([], {})).startswith("None of these could be measured")
    assert stand([], {}).decided is False


def test_status_of_an_entry() -> None:
    assert entry("a", (30,)).status == "finished"
    assert Entry(arm("a"), reason="no time").status == "skipped"
    assert Entry(arm("a"), reason="loss is nan", diverged=True).status == "diverged"
