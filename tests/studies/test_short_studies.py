"""Pairs of augmentations and scales of SimCLR: the grid, what is shared, resumed, left out and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

import headstart
from headstart.catalog.short_runs import AugmentationsConfig, ScalingConfig
from headstart.engine.interrupt import STOP
from headstart.errors import ConfigError, Interrupted
from headstart.studies.short_studies import ShortRunsResult, cells_of
from headstart.studies.short_studies import augmentations as study

USED: dict[str, Any] = {
    "backbone": "headstart:resnet8",
    "size": 8,
    "epochs": 1,
    "most": 80,
    "batch_size": 32,
    "device": "cpu",
}
STEPS = ("crop(0.3, 1.0)", "jitter(p=1)", "flip")


def digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    rows = np.flatnonzero(found.target < 3)[:150]
    return (found.images[rows] * 15).astype(np.uint8), found.target[rows]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ShortRunsResult:
    out = tmp_path_factory.mktemp("grid") / "run"
    return headstart.study_augmentations(digits(), out=out, steps=STEPS, **USED)


def test_every_pair_and_each_alone_is_trained_and_judged(pairs: ShortRunsResult) -> None:
    names = [row["name"] for row in pairs.summary["cells"]]
    alone = list(STEPS)
    both = [f"{STEPS[0]} {STEPS[1]}", f"{STEPS[0]} {STEPS[2]}", f"{STEPS[1]} {STEPS[2]}"]
    assert sorted(names) == sorted([*alone, *both])
    for row in pairs.summary["cells"]:
        assert row["accuracy"]["low"] <= row["accuracy"]["mean"] <= row["accuracy"]["high"]
        assert row["settings"]["pipeline"] == row["name"]
    best = max(pairs.summary["cells"], key=lambda row: row["accuracy"]["mean"])
    assert {one["a"] for one in pairs.summary["differences"]} == {best["name"]}
    assert len(pairs.summary["differences"]) == 5
    assert "SimCLR" in pairs.summary["sentences"][0]
    assert best["name"] in str(pairs)
    assert (pairs.folder / "report.html").exists()
    json.dumps(pairs.summary, allow_nan=False)


def test_a_training_that_stands_in_several_places_is_done_once(tmp_path: Path) -> None:
    settings = {
        "projections": ("none", "nonlinear"),
        "batches": (16, 32),
        "networks": ("headstart:resnet8",),
        "lengths": (1, 2),
    }
    config = ScalingConfig("x", **settings, epochs=1, batch_size=32, most=80)
    cells = list(cells_of(config, 80))
    assert len(cells) == 7
    assert len({cell.key for cell in cells}) == 4
    found = headstart.study_scaling(digits(), out=tmp_path / "run", **settings, **USED)
    by_name = {row["name"]: row for row in found.summary["cells"]}
    assert by_name["batch 32"]["accuracy"] == by_name["projection nonlinear"]["accuracy"] == by_name["epochs 1"]["accuracy"]
    assert [(one["a"], one["b"]) for one in found.summary["differences"]] == [
        ("projection nonlinear", "projection none"),
        ("batch 32", "batch 16"),
        ("epochs 2", "epochs 1"),
    ]
    assert {text.partition(":")[0] for text in found.summary["sentences"]} == {"projection", "batch", "network", "epochs"}


@pytest.mark.slow
def test_a_stopped_study_goes_on_to_the_same_numbers(pairs: ShortRunsResult, tmp_path: Path) -> None:
    def listen(line: dict[str, Any]) -> None:
        if line["event"] == "tick" and line.get("what") == "trainings" and line["done"] == 2:
            STOP.requested = True

    from headstart.catalog.given import configured

    config = configured(AugmentationsConfig("arrays", tmp_path / "run"), {**USED, "steps": STEPS})
    try:
        with pytest.raises(Interrupted):
            study(config, data=digits(), listeners=(listen,))
    finally:
        STOP.requested = False
    again = study(configured(config, {"resume": True}), data=digits())
    kept = {row["name"]: (row["accuracy"], row["loss"]) for row in pairs.summary["cells"]}
    assert {row["name"]: (row["accuracy"], row["loss"]) for row in again.summary["cells"]} == kept


def test_what_the_time_does_not_reach_is_named(tmp_path: Path) -> None:
    found = headstart.study_augmentations(digits(), out=tmp_path / "run", steps=STEPS, budget="0.01s", **USED)
    assert len(found.summary["cells"]) == 1  # the first, by which the others are reckoned
    assert len(found.summary["left_out"]) == 5
    assert "does not reach" in str(found)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": ("flip",)}, "two augmentations at least"),
        ({"steps": ("flip", "flip")}, "twice"),
        ({"steps": ("flip", "twirl(3)")}, "twirl"),
        ({"most": 40}, "two batches of 32"),
        ({"budget": "soon"}, "soon"),
        ({"epochs": 0}, "--epochs 0"),
        ({"seeds": 0}, "--seeds 0"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        headstart.study_augmentations(digits(), out=tmp_path / "run", **{**USED, **settings})


def test_scales_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)'cubic'.*ascending.*two batches"):
        headstart.study_scaling(
            digits(), out=tmp_path / "run", projections=("cubic",), lengths=(3, 1), batches=(32, 64), **{**USED, "most": 100}
        )
