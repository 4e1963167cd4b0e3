"""The verdict: decided, undecided with the cheaper taken, or nothing to compare; and what the advice cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.metrics.intervals import wilson
from headstart.metrics.paired import corrected_t, holm
from headstart.studies.race import Trial, balancing
from headstart.studies.verdict import Verdict, difference, interval_of, judge
from tests.studies.toys import answers, arm, folds_of, standing

CHEAP, DEAR, DEAREST = arm("cheap", 0, frozen=True), arm("dear", 5), arm("dearest", 9)
FIVE = folds_of(5)


def test_a_clear_winner_is_decided() -> None:
    found = judge(
        [standing(CHEAP, [20, 21, 20, 19, 20]), standing(DEAR, [38, 39, 38, 37, 38])], FIVE, advised="cheap", seed=0
    )
    assert (found.best, found.chosen, found.decided, found.against) == ("dear", "dear", True, "cheap")
    assert found.comparison is not None
    assert found.comparison.decided
    assert found.comparison.mean == pytest.approx(0.45)
    assert found.comparison.low > 0
    assert found.regret == pytest.approx(0.45)


def test_of_equals_the_cheaper_is_taken_and_compared_with_the_best() -> None:
    found = judge(
        [standing(DEAR, [38, 30, 36, 39, 31]), standing(CHEAP, [37, 31, 38, 34, 33])], FIVE, advised="dear", seed=0
    )
    assert (found.best, found.chosen, found.decided, found.against) == ("dear", "cheap", False, "cheap")
    assert found.comparison is not None
    assert not found.comparison.decided
    assert found.comparison.low <= 0 <= found.comparison.high
    assert found.comparison.detectable > 0
    assert found.regret == 0


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_two_identical_arms_are_undecided(folds: int) -> None:
    right = {fold: answers(30, 40, fold) for fold in range(folds)}
    for order in (1, -1):
        both = [standing(CHEAP, right), standing(DEAR, right)][::order]
        found = judge(both, folds_of(folds), advised="dear", seed=0)
        assert (found.best, found.chosen, found.decided, found.regret) == ("cheap", "cheap", False, 0.0)
        assert found.against == "dear"
        assert found.comparison is not None
        assert found.comparison.mean == 0
        assert found.comparison.p_value == pytest.approx(1, abs=0.05)


def test_a_single_arm_decides_nothing() -> None:
    found = judge([standing(CHEAP, [30] * 5), standing(DEAR, [])], FIVE, advised="cheap", seed=0)
    assert replace(found, regret=0.0) == Verdict("cheap", "cheap", False, None, None, {}, 0.0)
    assert math.isnan(found.regret)  # nothing was compared, so nothing is known of it


def test_a_lead_on_a_single_fold_is_taken_when_it_is_large_and_not_called_decided() -> None:
    """Only the cheap arm had time for every fold; the dear one was far ahead on the first."""
    found = judge([standing(CHEAP, [20] * 5), standing(DEAR, [39])], FIVE, advised="cheap", seed=0)
    assert (found.best, found.chosen, found.decided, found.against) == ("dear", "dear", False, "cheap")
    assert found.comparison is not None
    assert found.comparison.mean == pytest.approx(19 / 40)
    assert found.regret == pytest.approx(19 / 40)
    near = judge([standing(CHEAP, [33] * 5), standing(DEAR, [34])], FIVE, advised="cheap", seed=0)
    assert (near.best, near.chosen, near.decided, near.against) == ("cheap", "cheap", False, "dear")


def test_an_arm_far_behind_is_not_the_cheaper_of_equals() -> None:
    """Three folds that disagree cannot decide thirty points (two degrees of freedom); the cheaper is not taken for that."""
    folds = folds_of(3)
    arms = [standing(DEAR, [36, 36, 38]), standing(CHEAP, [27, 26, 19])]
    found = judge(arms, folds, advised="dear", seed=0)
    assert (found.best, found.chosen, found.decided, found.against) == ("dear", "dear", False, "cheap")
    assert found.comparison is not None
    assert found.comparison.low < 0 < found.comparison.mean


@pytest.mark.parametrize("right", [[40] * 3, [30] * 3, [0] * 5])
def test_folds_that_agree_do_not_make_an_interval_narrower_than_their_images_allow(right: list[int]) -> None:
    found = interval_of(standing(CHEAP, right), folds_of(len(right)))
    images = wilson(sum(right), 40 * len(right))
    assert 0 <= found.low <= images.low
    assert images.high <= found.high <= 1


def test_an_arm_without_time_for_every_fold_wins_only_by_a_decided_lead() -> None:
    arms = [standing(CHEAP, [20, 22, 21, 20, 20]), standing(DEAR, [35, 36, 34, 35, 36]), standing(DEAREST, [40, 40])]
    found = judge(arms, FIVE, advised="cheap", seed=0)
    assert (found.best, found.chosen, found.decided) == ("dearest", "dearest", True)
    assert found.differences["dear"].mean == pytest.approx((40 - 35 + 40 - 36) / 80)
    assert found.differences["dear"].method == "images"
    slight = judge([*arms[:2], standing(DEAREST, [36, 37])], FIVE, advised="cheap", seed=0)
    assert (slight.best, slight.chosen, slight.against, slight.decided) == ("dear", "dear", "dearest", False)
    assert slight.differences["dearest"].mean == pytest.approx((35 - 36 + 36 - 37) / 80)


def test_luck_on_the_folds_that_an_arm_without_time_ran_is_not_enough() -> None:
    """The dear arm led on the two folds it ran, on which another was lucky: behind one as cheap on all five, it is not taken
    for that; where it is cheaper than those ahead of it and near to them, it is."""
    dear = standing(DEAR, [39, 40])
    free, lucky = standing(arm("free", 1), [35, 35, 38, 38, 39]), standing(arm("lucky", 1), [39, 40, 31, 30, 29])
    found = judge([free, lucky, dear], FIVE, advised="free", seed=0)
    assert free.mean > lucky.mean + 0.05
    assert not found.differences["lucky"].decided
    assert found.differences["free"].decided
    assert (found.best, found.chosen, found.decided) == ("dear", "dear", False)
    near = standing(arm("near", 0), [39, 40, 36, 34, 34])
    assert free.mean > near.mean
    assert judge([free, near, dear], FIVE, advised="free", seed=0).chosen == "near"
    far = standing(arm("far", 0), [39, 40, 12, 12, 12])
    assert judge([free, far, dear], FIVE, advised="free", seed=0).chosen == "dear"


def test_nothing_is_decided_while_an_arm_without_time_was_ahead() -> None:
    arms = [standing(CHEAP, [20, 22, 21, 20, 20]), standing(DEAR, [35, 36, 34, 35, 36]), standing(DEAREST, [39])]
    found = judge(arms, FIVE, advised="dearest", seed=0)
    assert (found.best, found.chosen, found.against, found.decided) == ("dear", "dear", "dearest", False)
    assert found.comparison is not None
    assert found.comparison.mean == pytest.approx(-4 / 40)
    behind = judge([*arms[:2], standing(DEAREST, [34])], FIVE, advised="dearest", seed=0)
    assert (behind.best, behind.against, behind.decided) == ("dear", "cheap", True)


def test_the_advice_is_not_free_of_regret_when_another_arm_led_where_both_ran() -> None:
    """A trained arm was far ahead on the three folds it had time for."""
    arms = [standing(CHEAP, [28] * 5), standing(DEAR, [27] * 5), standing(DEAREST, [36, 36, 37])]
    found = judge(arms, FIVE, advised="cheap", seed=0)
    assert (found.best, found.chosen) == ("dearest", "dearest")
    assert found.regret == pytest.approx((36 + 36 + 37 - 84) / 120)


def test_balanced_values_average_to_balanced_accuracy() -> None:
    targets = np.array([0, 0, 0, 1])
    right = np.array([True, True, True, False])
    assert Trial("a", 0, right, 1.0, 1, balancing(targets)).accuracy == pytest.approx(0.5)
    assert Trial("a", 0, right, 1.0, 1).accuracy == pytest.approx(0.75)


def test_an_arm_that_diverged_cannot_win() -> None:
    wild = standing(DEAR, [39, 39, 39, 39, 39])
    wild.status = "diverged"
    found = judge([standing(CHEAP, [20] * 4), wild], FIVE, advised="cheap", seed=0)
    assert (found.best, found.chosen, found.decided) == ("cheap", "cheap", False)


def test_regret_is_measured_on_the_folds_the_advised_arm_ran() -> None:
    arms = [standing(CHEAP, [30, 20, 20, 20, 20]), standing(DEAR, [36, 39, 39, 39, 39])]
    assert judge([arms[1], standing(CHEAP, [30])], FIVE, advised="cheap", seed=0).regret == pytest.approx(6 / 40)
    assert judge(arms, FIVE, advised="dear", seed=0).regret == 0
    assert math.isnan(judge(arms, FIVE, advised="never ran", seed=0).regret)


def test_folds_that_agree_by_chance_do_not_outvote_their_images() -> None:
    """One image more on every fold: no variance between folds, and yet only five of two hundred images."""
    ahead = {fold: answers(31, 40, fold) for fold in range(5)}
    behind = {fold: right.copy() for fold, right in ahead.items()}
    for right in behind.values():
        right[np.flatnonzero(right)[0]] = False
    found = difference(standing(CHEAP, ahead), standing(DEAR, behind), FIVE, 0)
    assert found.method == "images"
    assert found.mean == pytest.approx(1 / 40)
    assert found.p_value > 0.01


def test_p_values_are_holm_adjusted() -> None:
    """Of many rivals some differ by chance; what one comparison alone would decide, ten together need not."""
    rng = np.random.default_rng(3)
    best = {fold: rng.random(40) < 0.80 for fold in range(5)}
    rivals = [{fold: rng.random(40) < 0.70 for fold in range(5)} for _ in range(10)]
    arms = [standing(arm("best", 9), best), *(standing(arm(f"rival{n}", n), r) for n, r in enumerate(rivals))]
    found = judge(arms, FIVE, advised="best", seed=0)
    winner = next(s for s in arms if s.arm.name == found.best)
    raw = {s.arm.name: corrected_t(winner.scores(range(5)), s.scores(range(5)), 160, 40) for s in arms if s is not winner}
    adjusted = holm([one.p_value for one in raw.values()])
    assert {name: d.p_value for name, d in found.differences.items()} == pytest.approx(dict(zip(raw, adjusted, strict=True)))
    assert {n for n, d in found.differences.items() if d.decided} < {n for n, d in raw.items() if d.decided}


@pytest.mark.parametrize(("folds", "method"), [(1, "wilson"), (2, "wilson"), (3, "folds"), (5, "folds")])
def test_intervals_are_over_folds_from_three_on(folds: int, method: str) -> None:
    one = standing(CHEAP, [30, 31, 29, 33, 28][:folds])
    found = interval_of(one, folds_of(folds))
    assert found.method == method
    assert found.mean == pytest.approx(one.mean)
    assert found.low < one.mean < found.high


def test_a_comparison_is_the_mirror_image_of_its_reverse() -> None:
    one, other = standing(CHEAP, [30, 31, 29, 33, 28], seed=1), standing(DEAR, [33, 32, 35, 30, 38], seed=2)
    there, back = difference(one, other, FIVE, 0), difference(other, one, FIVE, 0)
    assert (there.mean, there.low, there.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert there.p_value == pytest.approx(back.p_value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 4))
def test_every_verdict_is_consistent(rights: list[list[int]], cheapest: int) -> None:
    """Whatever the scores: the best has the highest mean, the chosen cannot be told from it, and decided means alone."""
    arms = [standing(arm(f"a{n}", (n - cheapest) % len(rights)), right, seed=n) for n, right in enumerate(rights)]
    found = judge(arms, folds_of(3), advised="a0", seed=0)
    by_name = {s.arm.name: s for s in arms}
    best, chosen = by_name[found.best], by_name[found.chosen]
    assert best.mean == max(s.mean for s in arms)
    assert chosen.arm.cost <= best.arm.cost
    assert chosen is best or not found.differences[chosen.arm.name].decided
    assert found.decided == (len(arms) > 1 and all(d.decided for d in found.differences.values()))
    assert found.regret == pytest.approx(best.mean - by_name["a0"].mean if len(arms) > 1 else math.nan, nan_ok=True)
    assert (found.against is None) == (len(arms) == 1)
    assert found.against != found.best
    assert not found.decided or found.chosen == found.best
