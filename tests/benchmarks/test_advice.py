"""The benchmark of the advice: regret by hand, intervals over data sets, and that what is shipped is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.advice import ASSET, PAGE, Cell, always, apart, by_forecast, cells, minus, misses, over_data_sets, regrets
from benchmarks.grid import STRATEGY_NAMES
from headstart.transferability.evidence import Evidence
from headstart.transferability.experience import USED, cases, to_json
from headstart.transferability.forecast import Case


def cell(target: str, draw: int, probe: float, full: float, per_class: int = 10) -> Cell:
    evidence = Evidence.of(10 * per_class, [per_class] * 10, [0.5], 1000, pixels=0.4)
    return Cell(f"a>{target}", per_class, draw, Case("a", target, evidence, {"probe": probe, "full": full}, 1000), 1.0, 9.0)


def test_the_best_is_chosen_on_the_other_draws_and_scored_on_this_one() -> None:
    every = [cell("x", 0, 0.5, 0.6), cell("x", 1, 0.7, 0.6), cell("x", 2, 0.5, 0.9), cell("y", 0, 0.1, 0.2)]
    # In draw 0 the others say full (.75 > .6), in draw 1 full (.75 > .5), in draw 2 a tie that the first wins.
    found = regrets(every, always("probe"))
    assert set(found) == {"x"}  # y has no other draw
    np.testing.assert_allclose(found["x"], [10, -10, 0])
    np.testing.assert_allclose(regrets(every, always("full"))["x"], [0, 0, -40])


def test_data_sets_are_drawn_anew_not_cells() -> None:
    found = over_data_sets({"x": [1.0] * 50, "y": [3.0] * 50})
    assert found.mean == 2
    assert (found.low, found.high) == (1, 3)
    assert over_data_sets(minus({"x": [2.0]}, {"x": [0.5]})).mean == 1.5


def test_the_forecast_behind_an_advice_has_not_seen_its_data_set() -> None:
    """One data set is the opposite of all others: its advice is theirs, and is wrong."""
    every = [cell(name, draw, 0.6, 0.8) for name in "abcd" for draw in (0, 1)]
    odd = [cell("odd", draw, 0.8, 0.6) for draw in (0, 1)]
    choose = by_forecast([*every, *odd], ("images per class",))
    assert choose(odd[0]) == "full"
    assert over_data_sets({"odd": regrets([*every, *odd], choose)["odd"]}).mean == pytest.approx(20)
    assert set(apart([*every, *odd], ("images per class",))) == {*"abcd", "odd"}
    assert misses([*every, *odd], ("images per class",), always("probe")).error["odd"][0] == pytest.approx(20, abs=1)


def test_what_is_shipped_is_what_was_measured() -> None:
    every = cells()
    assert json.loads(Path(ASSET).read_text("utf-8")) == json.loads(json.dumps(to_json([one.case for one in every])))
    assert len(cases()) == len(every)
    assert f"\n{len(every)} cells: " in PAGE.read_text("utf-8")
    assert len(cases()[0].accuracy) == len(STRATEGY_NAMES)


def test_the_bars_hold() -> None:
    """Mean regret at most 1 point, its interval's upper end at most 2.5, below the three fixed strategies; 80 % intervals
    hold at least 70 % of the cells left out."""
    every = cells()
    advice = over_data_sets(regrets(every, by_forecast(every, USED)))
    assert advice.mean <= 1
    assert advice.high <= 2.5
    for name in ("probe", "full", "lpft"):
        assert advice.mean < over_data_sets(regrets(every, always(name))).mean
    assert over_data_sets(misses(every, USED, by_forecast(every, USED)).covered).mean >= 0.7
