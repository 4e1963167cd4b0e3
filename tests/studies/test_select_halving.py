"""The race of networks: who goes on, what fits into the time, and that a trial is kept."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.engine.features import FeatureBank
from headstart.nets.rng import forked
from headstart.nets.small import mlp
from headstart.studies import halving
from headstart.studies.halving import Finalist, Halving, Plan, plan, slugs
from headstart.studies.race import Divergence, Fold, Race, Trial
from tests.engine.engine_toys import vectors
from tests.studies.toys import answers, folds_of


def finalists(count: int) -> list[Finalist]:
    task = vectors()[1]
    nets = []
    for seed in range(count):
        with forked(seed):
            nets.append(mlp(task.store.array.shape[1], (8 + seed,)))
    return [Finalist(f"net {k}", net, task, FeatureBank()) for k, net in enumerate(nets)]


def three_folds(count: int = 35, folds: int = 3) -> list[Fold]:
    every = np.arange(count)
    return [(every[every % folds != k], every[every % folds == k]) for k in range(folds)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Trials that are made up: right answers per name, seconds each."""
    made: dict[str, Any] = {"right": {}, "seconds": 1.0, "ran": []}

    def trial(self: Race, arm: Any, fold: int) -> Trial | Divergence:
        made["ran"].append((arm.name, fold))
        right = made["right"][arm.name]
        if right is None:
            return Divergence("the loss is nan", 1.0)
        return Trial(arm.name, fold, answers(right, 40, fold), made["seconds"], 10)

    monkeypatch.setattr(Race, "trial", trial)
    return made


def test_the_better_half_goes_on_and_two_finish(told: dict[str, Any]) -> None:
    told["right"] = {f"net_{k}": 30 - k for k in range(4)}
    race = Halving(finalists(4), folds_of(3), "full", math.inf)
    found = race.run(Plan(4, 2, {f"net {k}": 1.0 for k in range(4)}))
    assert [len(one.trials) for one in found] == [3, 3, 1, 1]
    assert [one.status for one in found] == ["finished", "finished", "eliminated", "eliminated"]
    assert found[3].reason == "in the lower half after fold 1"
    assert race.spent == len(told["ran"]) == 8 == halving._trials(4, 3)


def test_the_clock_ends_it(told: dict[str, Any]) -> None:
    told["right"] = {f"net_{k}": 30 for k in range(2)}
    found = Halving(finalists(2), folds_of(5), "full", 5.0).run(Plan(2, 2, {"net 0": 1.0, "net 1": 1.0}))
    assert [len(one.trials) for one in found] == [3, 2]
    assert all("no longer fitted into the 5 s" in one.reason and one.status == "eliminated" for one in found)


def test_one_that_diverges_loses_alone(told: dict[str, Any]) -> None:
    told["right"] = {"net_0": None, "net_1": 20, "net_2": 10}
    found = Halving(finalists(3), folds_of(2), "full", math.inf).run(Plan(3, 2, {f"net {k}": 1.0 for k in range(3)}))
    assert [one.status for one in found] == ["diverged", "finished", "finished"]
    assert found[0].reason == "the loss is nan"


def test_those_not_in_the_plan_are_named(told: dict[str, Any]) -> None:
    told["right"] = {f"net_{k}": 30 for k in range(3)}
    found = Halving(finalists(3), folds_of(2), "full", math.inf).run(Plan(2, 2, {f"net {k}": 1.0 for k in range(3)}))
    assert found[2].status == "skipped"
    assert "no time for more than 2 networks" in found[2].reason


@pytest.mark.parametrize(("contenders", "folds", "trials"), [(4, 5, 4 + 2 * 4), (2, 3, 6), (8, 3, 8 + 4 + 2), (3, 1, 3)])
def test_counting_trials(contenders: int, folds: int, trials: int) -> None:
    assert halving._trials(contenders, folds) == trials


def test_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a known speed: more time gives more epochs, then everybody the most; no time, no race."""
    monkeypatch.setattr(halving, "pace", lambda net, task: 1e-7)
    some, folds = finalists(3), three_folds()
    plans = [plan(some, folds, "full", budget=budget, mirror=False) for budget in (1e9, 0.3, 1e-6)]
    assert plans[0].finalists == 3
    assert plans[0].epochs >= plans[1].epochs > plans[2].epochs == 0
    assert plans[2].finalists == 0
    one = plans[0]
    assert sum(one.seconds.values()) / 3 * halving._trials(3, 3) <= 1e9
    assert one.seconds["net 0"] < one.seconds["net 2"]


def test_a_real_race_is_resumed_from_its_files(tmp_path: Path) -> None:
    some, folds = finalists(2), three_folds(folds=2)
    planned = Plan(2, 2, {"net 0": 0.1, "net 1": 0.1})
    first = Halving(some, folds, "lpft", math.inf, folder=tmp_path).run(planned)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        f"net_{k}-{fold}.json" for k in (0, 1) for fold in (0, 1)
    ]
    again = Halving(some, folds, "lpft", math.inf, folder=tmp_path).run(planned)
    for one, other in zip(first, again, strict=True):
        assert one.status == other.status == "finished"
        for fold in (0, 1):
            assert (one.trials[fold].correct == other.trials[fold].correct).all()
            assert one.trials[fold].seconds == other.trials[fold].seconds


def test_slugs_are_names_of_files_and_all_different() -> None:
    found = slugs(["timm:a/b", "timm_a_b", "../x", "///"])
    assert len(set(found.values())) == 4
    assert all(
        set(one) <= set("abcdefghijklmnopqrstuvwxyz_.-0123456789") and not one.startswith(".") for one in found.values()
    )
