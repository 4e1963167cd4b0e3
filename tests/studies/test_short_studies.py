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
from headstart.errors import ConfigError, DataError, Interrupted
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
    assert not any(one["decided"] for one in pairs.summary["differences"]), "another seed may order them otherwise"
    assert "One seed" in pairs.summary["sentences"][0]
    assert "SimCLR" in pairs.summary["sentences"][0]
    assert best["name"] in str(pairs)
    assert (pairs.folder / "report.html").exists()
    json.dumps(pairs.summary, allow_nan=False)


def test_a_training_that_stands_in_several_places_is_done_once(tmp_path: Path) -> None:
    settings = {
        "projections": ("none", "nonlinear"),
        "batches": (16, 32, 64),
        "networks": ("headstart:resnet8",),
        "lengths": (1, 2),
    }
    config = ScalingConfig("x", **settings, epochs=1, batch_size=32, most=1000)
    cells = list(cells_of(config, 120))
    assert len(cells) == 7
    assert len({cell.key for cell in cells}) == 4
    used = {**USED, "most": 1000, "backbone": "headstart:resnet20"}
    found = headstart.study_scaling(digits(), out=tmp_path / "run", **settings, **used)
    by_name = {row["name"]: row for row in found.summary["cells"]}
    assert by_name["batch 32"]["accuracy"] == by_name["projection nonlinear"]["accuracy"] == by_name["epochs 1"]["accuracy"]
    assert [(one["a"], one["b"]) for one in found.summary["differences"]] == [
        ("projection nonlinear", "projection none"),
        ("batch 32", "batch 16"),
        ("epochs 2", "epochs 1"),
    ]
    assert {text.partition(":")[0] for text in found.summary["sentences"]} == {"projection", "batch", "network", "epochs"}
    assert found.summary["networks"] == ["headstart:resnet8"], "the only one that was trained"
    assert "resnet20" not in str(found)
    (left_out,) = found.summary["left_out"]
    assert left_out["name"] == "batch 64"
    assert f"{found.summary['images']} images" in left_out["reason"]
    assert "batch 64 was left out" in (found.folder / "log.jsonl").read_text()


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


def test_what_the_time_does_not_reach_is_named_in_every_place_where_it_stands(tmp_path: Path) -> None:
    settings = {"projections": ("nonlinear",), "batches": (16, 32), "networks": (), "lengths": (1, 2)}
    found = headstart.study_scaling(digits(), out=tmp_path / "run", **settings, **USED, budget="0.01s")
    # The first is trained: by it the others are reckoned.
    assert [one["name"] for one in found.summary["cells"]] == ["projection nonlinear", "batch 32", "epochs 1"]
    assert [one["name"] for one in found.summary["left_out"]] == ["batch 16", "epochs 2"]
    assert all("no time is left" in one["reason"] and "-" not in one["reason"] for one in found.summary["left_out"])
    assert "no time is left" in str(found)


def test_images_that_are_too_few_for_what_is_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"two batches of 64.*--batch-size"):
        headstart.study_augmentations(digits(), out=tmp_path / "a", steps=STEPS, **{**USED, "batch_size": 64, "most": 999})
    alone = {"projections": (), "networks": (), "lengths": (), "batches": (64, 256)}
    with pytest.raises(ConfigError, match="nothing is left to compare"):
        headstart.study_scaling(digits(), out=tmp_path / "b", **alone, **{**USED, "most": 999})


def test_networks_that_see_images_of_unlike_sizes_are_not_compared(tmp_path: Path) -> None:
    networks = ("headstart:resnet8", "torchvision:resnet18")
    with pytest.raises(ConfigError, match=r"32 px.*224 px.*--size"):
        headstart.study_scaling(digits(), out=tmp_path / "run", networks=networks, batches=(32,), **{**USED, "size": None})


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
