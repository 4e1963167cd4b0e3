"""The advice as records: what summary.json says of it, and the settings that an arm stands for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from headstart.data.splits import folds as make_folds
from headstart.engine.features import FeatureBank
from headstart.engine.log import SILENT
from headstart.studies.advised import records, settings_of
from headstart.studies.arms import Arm, advised_arm, all_arms, base_recipe
from headstart.studies.measure import Measures, measure
from headstart.transferability.adviser import advise
from headstart.transferability.experience import cases, forecaster
from tests.conftest import make_image_task
from tests.engine.engine_toys import resnet

NET = resnet()
ARMS = {arm.name: arm for arm in all_arms(NET, base_recipe(NET, 64, mirror=True, class_weights=False), seed=0)}


@pytest.fixture(scope="module")
def measured() -> Measures:
    task = make_image_task(36, size=12)
    return measure(NET, task, list(make_folds(task.targets, None, 3, 0)), FeatureBank(), seed=0, log=SILENT)


def recorded(measured: Measures, arm: Arm) -> dict[str, Any]:
    return records(measured, NET, list(ARMS.values()), arm, 64)


def test_where_past_experiments_reach(measured: Measures) -> None:
    evidence = replace(measured.evidence, pixels=0.4, probe_last=0.7, probe_best=0.7)
    advice = advise(evidence, measured.curve.accuracies, forecaster=forecaster())
    arm = advised_arm(list(ARMS.values()), advice.strategy)
    found = recorded(replace(measured, advice=advice), arm)
    json.dumps(found)
    assert found["forecast"][0]["strategy"] == advice.strategy == found["advice"]["strategy"]
    assert {row["arm"] for row in found["forecast"]} <= set(ARMS)
    assert found["advice"]["expected"]["accuracy"] == found["forecast"][0]["accuracy"]
    low, high = found["advice"]["expected"]["interval"]
    assert low <= found["advice"]["expected"]["accuracy"] <= high
    assert 0 <= found["advice"]["sure"] <= 1
    assert sum(row["probability_best"] for row in found["forecast"]) == pytest.approx(1)
    assert len(found["calibration"]) <= len(cases())


def test_where_they_do_not(measured: Measures) -> None:
    evidence = replace(measured.evidence, pretrained=False)
    advice = advise(evidence, measured.curve.accuracies, forecaster=forecaster())
    found = recorded(replace(measured, advice=advice, growth=None), ARMS["probe"])
    assert found["forecast"] == []
    assert found["advice"]["expected"] is None
    assert found["advice"]["sure"] is None
    assert found["learning_curve"] is None


def test_the_learning_curve_says_what_twice_the_labels_would_bring(measured: Measures) -> None:
    found = recorded(measured, ARMS["probe"])["learning_curve"]
    assert found["twice"]["images"] == 2 * found["points"][-1]["images"] == 48
    assert found["sentence"].startswith("Twice the images should bring a linear head")


def test_every_weighted_block_is_frozen_tuned_or_learned_anew() -> None:
    for arm in ARMS.values():
        found = settings_of(NET, arm, 64)
        treated = [*found["frozen"], *found.get("fine_tuned", []), *found.get("re_trained", [])]
        assert sorted(treated) == sorted({*treated}), arm.name
        assert set(treated) == set(settings_of(NET, ARMS["probe"], 64)["frozen"]), arm.name


def test_settings_are_those_of_the_arm() -> None:
    full, lpft, top = (settings_of(NET, ARMS[name], 65) for name in ("full", "lpft", "retrain_top"))
    recipe = ARMS["full"].config.recipe
    assert full["lr_head"] == pytest.approx(10 * full["lr_fine_tuned"][0])
    assert full["steps"] == recipe.epochs * -(-65 // recipe.batch_size)
    assert lpft["lr_head"] == pytest.approx(lpft["lr_fine_tuned"][0])
    assert lpft["head"] == "linear, probed first"
    assert top["re_trained"]
    assert top["frozen"]
    assert not top["fine_tuned"]
    falling = settings_of(NET, ARMS["full_decay"], 64)["lr_fine_tuned"]
    assert falling == sorted(falling, reverse=True)
    assert len(falling) > 1
    assert settings_of(NET, ARMS["svm"], 64)["head"] == "linear SVM"
    assert len(settings_of(NET, ARMS["early_probe"], 64)["head_reads"]) > 1
