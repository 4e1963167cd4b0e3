"""The arms: rates by kind of network, what an epoch costs, and a plan that fits into the time."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import product

import pytest
from torch import nn

from headstart.errors import ConfigError
from headstart.nets.cost import block_flops
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies import STRATEGIES
from headstart.strategies.common import weighted_blocks
from headstart.studies import arms as arms_room
from headstart.studies.arms import Plan, advised_arm, all_arms, base_recipe, pick, plan_race, with_epochs, work
from headstart.studies.race import Arm
from headstart.transferability.adviser import advise
from headstart.transferability.evidence import Evidence
from headstart.transferability.experience import forecaster
from tests.conftest import make_image_task
from tests.engine.engine_toys import perceptron, resnet

SAMPLES, FOLDS = 300, 4
SPEED = 1e-9
"""Seconds per multiply-add."""


@pytest.fixture(scope="module")
def net() -> Net:
    return resnet()


@pytest.fixture(scope="module")
def every(net: Net) -> list[Arm]:
    return all_arms(net, base_recipe(net, SAMPLES, mirror=True, class_weights=False), seed=0)


def plan(net: Net, every: list[Arm], budget: float, advised: str = "probe", samples: int = SAMPLES) -> Plan:
    return plan_race(net, every, advised=advised, samples=samples, folds=FOLDS, budget=budget, seconds_per_mac=SPEED)


def test_every_arm_is_a_known_strategy_with_a_name_of_its_own(every: list[Arm]) -> None:
    assert len({arm.name for arm in every}) == len({arm.label for arm in every}) == len(every)
    # These learn from a teacher, where arms start from what a network knows.
    assert {arm.strategy for arm in every} == set(STRATEGIES) - {"distill", "born_again"}
    assert all(hasattr(arm.config, "recipe") != arm.frozen for arm in every)


@pytest.mark.parametrize(("samples", "batch"), [(10, 16), (959, 16), (960, 32), (1919, 32), (1920, 64), (10**6, 64)])
def test_a_batch_is_a_thirtieth_of_the_data_or_as_small_as_batches_get(net: Net, samples: int, batch: int) -> None:
    assert batch == 16 or samples >= 30 * batch
    assert base_recipe(net, samples, mirror=True, class_weights=False).batch_size == batch


def test_rates_go_by_the_normalisation_a_network_has(net: Net) -> None:
    transformer = perceptron()
    transformer.blocks["layer1"] = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 10))
    found = [base_recipe(each, 100, mirror=False, class_weights=True) for each in (net, perceptron(), transformer)]
    assert [recipe.optimizer for recipe in found] == ["sgd", "sgd", "adamw"]
    assert [recipe.clip for recipe in found] == [None, 1.0, 1.0]
    assert found[2].lr < found[0].lr
    assert not any(recipe.mirror for recipe in found)
    assert all(recipe.class_weights for recipe in found)


def test_class_weights_reach_every_arm(net: Net) -> None:
    for arm in all_arms(net, base_recipe(net, SAMPLES, mirror=True, class_weights=True), seed=0):
        assert getattr(arm.config, "class_weights", None) or arm.config.recipe.class_weights


def test_work_is_three_passes_of_what_trains_and_one_of_what_is_frozen(net: Net, every: list[Arm]) -> None:
    flops = block_flops(net)
    total, arms = sum(flops.values()), {arm.name: arm for arm in every}
    assert work(net, arms["probe"]) == work(net, arms["early_probe"]) == 0
    assert work(net, arms["full"]) == work(net, arms["retrain"]) == work(net, arms["retrain_top_tuned"]) == 3 * total
    top = flops[weighted_blocks(net)[-1]]
    # four fixed views: with twenty epochs the frozen part is passed four times, with two epochs twice
    for epochs, passes in ((20, 4 / 20), (2, 1.0)):
        got = work(net, with_epochs(arms["partial_1"], epochs))
        assert got == pytest.approx(3 * top + passes * (total - top))
        assert got == work(net, with_epochs(arms["partial_1"], epochs), flops)


def test_mixing_leaves_nothing_to_keep_and_is_priced_so(net: Net) -> None:
    recipe = replace(base_recipe(net, SAMPLES, mirror=True, class_weights=False), mixup=0.2, epochs=20)
    arms = {arm.name: arm for arm in all_arms(net, recipe, seed=0)}
    flops = block_flops(net)
    top, total = flops[weighted_blocks(net)[-1]], sum(flops.values())
    assert work(net, arms["partial_1"], flops) == pytest.approx(3 * top + (total - top))


def test_what_is_held_out_for_early_stopping_follows_from_the_runs_seed(net: Net) -> None:
    recipe = replace(base_recipe(net, SAMPLES, mirror=True, class_weights=False), patience=2)

    def learned_from(seed: int) -> list[list[int]]:
        task, found = make_image_task(60, size=12), []
        for arm in all_arms(net, recipe, seed=seed):
            if not arm.frozen:
                stages = list(STRATEGIES[arm.strategy](copy.deepcopy(net), task, arm.config))
                found += [stage.data.rows.tolist() for stage in stages if isinstance(stage, Stage)]
        return found

    first = learned_from(0)
    assert all(rows == first[0] for rows in first)
    assert learned_from(0) == first
    assert all(rows != first[0] for rows in learned_from(1))


def test_the_network_is_counted_once_for_a_plan(net: Net, every: list[Arm], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def count(net: Net) -> dict[str, int]:
        counted.append(net)
        return block_flops(net)

    monkeypatch.setattr(arms_room, "block_flops", count)
    plan(net, every, 30.0)
    assert len(counted) == 1


def halving(arms: int, folds: int) -> int:
    """Trials of successive halving, by simulation: the better half goes on, two at least."""
    trials = 0
    for _ in range(folds):
        trials += arms
        arms = max(min(arms, 2), (arms + 1) // 2)
    return trials


@pytest.mark.parametrize("budget", [0.5, 2.0, 10.0, 60.0, 1000.0])
@pytest.mark.parametrize("advised", ["probe", "full", "gradual"])
def test_a_plan_fits_into_the_budget(net: Net, every: list[Arm], budget: float, advised: str) -> None:
    found = plan(net, every, budget, advised)
    names = [arm.name for arm in found.arms]
    assert [arm.name for arm in every if arm.frozen] == names[: sum(arm.frozen for arm in every)]
    assert sorted([*names, *found.left_out]) == sorted(arm.name for arm in every)
    trained = [arm for arm in found.arms if not arm.frozen]
    assert trained
    assert set(found.seconds) == {arm.name for arm in trained}
    assert all(arm.config.recipe.epochs == found.epochs for arm in trained)
    total = halving(len(trained), FOLDS) * sum(found.seconds.values()) / len(trained)
    few = min(8, found.epochs)
    if [arm.name for arm in trained] == [advised]:  # its regret is to be measured: one fold at least, if it fits
        assert total <= budget or found.epochs <= few
        assert found.seconds[advised] <= budget or found.epochs == 2
    else:
        assert total <= budget or (found.epochs == 2 and len(trained) == 1)


def test_more_time_gives_more_arms_and_then_more_epochs(net: Net, every: list[Arm]) -> None:
    plans = [plan(net, every, budget) for budget in (0.2, 1.0, 3.0, 10.0, 30.0, 100.0, 1e6)]
    arms, epochs = [len(p.arms) for p in plans], [p.epochs for p in plans]
    assert arms == sorted(arms)
    assert arms[0] < arms[-1] == len(every)
    full = [e for a, e in zip(arms, epochs, strict=True) if a == len(every)]
    assert full == sorted(full)
    assert full[0] < full[-1]
    # five hundred steps in batches of 16
    assert plans[-1].epochs == -(-500 * 16 // SAMPLES)


@pytest.mark.parametrize(("samples", "epochs"), [(20, 60), (300, 27), (5000, 8), (19_999, 8), (30_000, 22), (10**6, 8)])
def test_enough_is_five_hundred_steps_or_ten_thousand_for_much_data(
    net: Net, every: list[Arm], samples: int, epochs: int
) -> None:
    recipe = base_recipe(net, samples, mirror=True, class_weights=False)
    assert plan(net, all_arms(net, recipe, seed=0), 1e12, samples=samples).epochs == epochs


def test_the_advised_arm_has_the_first_claim_on_the_time(net: Net, every: list[Arm]) -> None:
    tight = 1.2 * sum(plan(net, every, 1e6).seconds[name] for name in ("gradual",)) * FOLDS * 8 / 27
    found = plan(net, every, tight, "gradual")
    assert "gradual" in {arm.name for arm in found.arms}
    assert "gradual" not in {arm.name for arm in plan(net, every, tight, "probe").arms}


def test_frozen_arms_alone_need_no_plan(net: Net, every: list[Arm]) -> None:
    frozen = [arm for arm in every if arm.frozen]
    assert plan(net, frozen, 1.0) == Plan(frozen, 0, {}, [])
    assert with_epochs(frozen[0], 7) is frozen[0]


def test_arms_are_picked_by_their_name_or_their_strategy(every: list[Arm]) -> None:
    assert pick(every, ()) == every
    assert [arm.name for arm in pick(every, ("retrain", "svm"))] == ["svm", "retrain", "retrain_top", "retrain_top_tuned"]
    assert [arm.name for arm in pick(every, ("full_100",))] == ["full_100"]


@pytest.mark.parametrize(("typed", "meant"), [("probee", "probe"), ("lp-ft", "lpft"), ("retrain_tpo", "retrain_top")])
def test_an_unknown_arm_gets_suggestions(every: list[Arm], typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"--strategies .*\n  - '{typed}', did you mean .*\b{meant}\b"):
        pick(every, ("probe", typed))


def test_all_unknown_arms_are_named_together(every: list[Arm]) -> None:
    with pytest.raises(ConfigError) as caught:
        pick(every, ("xyzzy", "probe", "fulll"))
    assert "'xyzzy'" in str(caught.value)
    assert "'fulll'" in str(caught.value)


ADVISED = ("probe", "svm", "early_probe", "partial", "full", "lpft", "retrain", "retrain_top", "gradual")


@pytest.mark.parametrize("strategy", ADVISED)
def test_every_advice_is_carried_out_by_an_arm_of_its_kind(every: list[Arm], strategy: str) -> None:
    arm = advised_arm(every, strategy)
    assert arm in every
    assert arm.strategy == strategy.removesuffix("_top")
    if strategy in {arm.name for arm in every}:
        assert arm.name == strategy


def test_the_adviser_names_no_other_strategy(every: list[Arm]) -> None:
    named = set()
    for size, curve, pixels in product((5, 60, 3000), ((0.9, 0.95), (0.95, 0.6), (0.3, 0.3)), (None, 0.2, 0.9)):
        evidence = Evidence.of(10 * size, [size] * 10, curve, 1000, pixels=pixels)
        for forecast in (None, forecaster()):
            named.add(advise(evidence, dict(zip(("low", "high"), curve, strict=True)), forecaster=forecast).strategy)
    assert {"probe", "svm", "early_probe", "partial", "full", "retrain"} <= named <= set(ADVISED)
    assert set(forecaster().strategies) <= set(ADVISED)


@pytest.mark.parametrize("advised", ["partial", "retrain_top"])
def test_networks_of_one_or_two_blocks_have_arms_too(advised: str) -> None:
    small = perceptron()
    every = all_arms(small, base_recipe(small, 30, mirror=True, class_weights=False), seed=0)
    assert len({arm.name for arm in every}) == len(every)
    assert advised_arm(every, advised).config.top == 1
