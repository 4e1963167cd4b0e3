"""Distillation beside the other strategies: its teacher, what it costs, what it is told off for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import headstart
from headstart.catalog.strategies import Recipe
from headstart.errors import ConfigError
from headstart.nets.cost import block_flops
from headstart.studies import compare as study
from headstart.studies.arms import with_epochs, work
from headstart.studies.compare import CompareResult
from headstart.studies.taught_arms import taught_arms
from headstart.terms.teacher import Live
from tests.studies.distill_toys import saved, student, teacher, write

USED: dict[str, Any] = {"folds": 2, "mirror": False, "device": "cpu", "budget": "1h"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("digits"), 48, 6)


@pytest.fixture(scope="module")
def wise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("teacher"), order=(2, 0, 1))


def compare(folder: Path, out: Path, strategies: str, **settings: Any) -> CompareResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "train_pace", lambda *_: 1e-12)
        return headstart.compare(str(folder), student(), out=out, strategies=strategies.split(","), **(USED | settings))


@pytest.fixture(scope="module")
def found(folder: Path, wise: Path, tmp_path_factory: pytest.TempPathFactory) -> CompareResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "plan_trials", _few_epochs)
        out = tmp_path_factory.mktemp("runs") / "side"
        return compare(folder, out, "probe,distill,born_again,full", teacher=(str(wise),))


_PLANNED = study.plan_trials


def _few_epochs(net: Any, arms: Any, **how: Any) -> Any:
    """As if there were time for four epochs only."""
    needed = sum(_PLANNED(net, arms, **how | {"budget": 1e9}).needed.values())
    return _PLANNED(net, arms, **how | {"budget": 1.1 * needed})


def test_taught_ways_stand_beside_the_others(found: CompareResult, wise: Path) -> None:
    rows = {row["name"]: row for row in found.summary["strategies"]}
    assert set(rows) == {"probe", "distill", "born_again", "full"}
    assert all(row["status"] == "finished" and len(row["accuracies"]) == 2 for row in rows.values())
    assert f"taught by the labels and by {wise}" in rows["distill"]["description"]
    assert rows["born_again"]["training_flops"] > 2.9 * rows["full"]["training_flops"]
    assert rows["distill"]["stored_parameters"] == rows["full"]["stored_parameters"]


def test_a_teacher_is_charged_for(found: CompareResult, folder: Path) -> None:
    """48 images in two folds: 24 are learned from, in four renderings, each of which the teacher sees once."""
    rows = {row["name"]: row for row in found.summary["strategies"]}
    asked = teacher()
    one = 2 * (sum(block_flops(asked).values()) + asked.head("source").linear.weight.numel())
    assert rows["distill"]["training_flops"] - rows["full"]["training_flops"] == pytest.approx(4 * 24 * one, rel=0.01)


def test_the_command_that_is_told_names_the_teacher(found: CompareResult, wise: Path) -> None:
    assert str(wise) in found.summary["reproduce"]


@pytest.mark.parametrize(
    ("strategies", "settings", "said"),
    [
        ("distill,probe", {}, r"distill learns from another network's answers: name it by --teacher"),
        ("full,probe", {"teacher": True}, r"--teacher .* is for the strategy distill"),
        ("full,probe", {"map_classes": "names"}, r"--map-classes names is about a --teacher's classes"),
        ("distil,probe", {"teacher": False}, r"'distil', did you mean"),
    ],
)
def test_what_cannot_be(
    folder: Path, tmp_path: Path, wise: Path, strategies: str, settings: dict[str, Any], said: str
) -> None:
    given = {name: (str(wise),) if value is True else value for name, value in settings.items() if value is not False}
    with pytest.raises(ConfigError, match=said):
        compare(folder, tmp_path / "run", strategies, **given)


def test_a_teacher_of_other_classes_is_refused_with_a_mapping(folder: Path, tmp_path: Path) -> None:
    other = saved(tmp_path / "teacher", order=(0, 1))
    with pytest.raises(ConfigError, match=r"--map-classes FILE"):
        compare(folder, tmp_path / "run", "distill,probe", teacher=(str(other),))


def test_work_counts_trainings_and_answers() -> None:
    net, asked = student(), teacher()
    once, theirs = sum(block_flops(net).values()), sum(block_flops(asked).values())
    again, taught = taught_arms(Recipe(), seed=0, teachers=[("wise", Live(asked, "source"))])
    assert work(net, with_epochs(again, 8)) == pytest.approx(9 * once + 2 * once / 2)
    assert work(net, with_epochs(taught, 8)) == pytest.approx(3 * once + theirs / 2)
    assert work(net, with_epochs(taught, 2)) == pytest.approx(3 * once + theirs)
