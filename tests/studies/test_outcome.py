"""The records of a run: a command that can be typed again, sentences that say what is known, and JSON that can be read."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.catalog.adapt import AdaptConfig, BackboneConfig, DataConfig
from headstart.catalog.given import configured
from headstart.catalog.multitask import MultitaskConfig
from headstart.cli.adapt import COMMAND
from headstart.studies.outcome import as_text, sentence
from headstart.studies.records import again, plain

CONFIGS = [
    AdaptConfig("photos"),
    AdaptConfig("my photos/it's", out=Path("runs/a b"), budget="1h30m", seed=7, folds=3, mirror=False, class_weights=True),
    AdaptConfig(
        "cells.csv", strategies=("probe", "full_100"), device="cpu", smoothing=0.1, mixup=0.2, patience=3, average=0.99
    ),
    AdaptConfig(
        "photos",
        network=BackboneConfig(
            "timm:resnet18", Path("my weights.pt"), ("pad_type=same", "a=[1, 2]"), 96, (0.5, 0.25, 0.125), (0.5, 0.5, 1.0)
        ),
        images=DataConfig("file", "what", "patient", "part", "pad", 0.25),
    ),
    AdaptConfig("photos", out=Path("runs/x"), resume=True, overwrite=True, json=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_the_command_that_reproduces_a_run_parses_to_its_settings(config: AdaptConfig) -> None:
    from dataclasses import replace

    words = shlex.split(again("adapt", config))
    assert words[:2] == ["headstart", "adapt"]
    assert COMMAND.parse(words[2:]) == replace(config, resume=False, overwrite=False, json=False)


def test_several_data_sets_are_named_one_by_one() -> None:
    config = MultitaskConfig(data=("my digits", "signs.csv"), out=Path("runs/both"), tasks=("digit", "sign"))
    words = shlex.split(again("multitask", config))
    assert words[:4] == ["headstart", "multitask", "my digits", "signs.csv"]
    assert words[words.index("--tasks") + 1 :] == ["digit", "sign"]


@pytest.mark.parametrize("config", CONFIGS[:4], ids=range(4))
def test_the_call_that_reproduces_a_run_gives_its_settings(config: AdaptConfig) -> None:
    """The text is a call of `headstart.adapt`; its keywords are settled as `headstart.adapt` settles them."""
    import ast

    call = ast.parse(again("adapt", config, ("data", "backbone")), mode="eval").body
    assert isinstance(call, ast.Call)
    assert ast.unparse(call.func) == "headstart.adapt"
    assert [ast.unparse(word) for word in call.args] == ["data", "backbone"]
    settings = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    found = configured(AdaptConfig(config.data, out=Path(settings.pop("out"))), settings)
    assert str(found) == str(config).replace("PosixPath('my weights.pt')", "'my weights.pt'")
    assert again("adapt", config, ("backbone",)).startswith(f"headstart.adapt({config.data!r}, backbone, out=")
    assert again("adapt", config, ("data",)).startswith("headstart.adapt(data, out=")


def test_plain_values_are_json_without_nan() -> None:
    given = {1: np.float32("nan"), "a": [np.int64(3), float("inf"), None, True], "b": np.eye(2), "c": (np.bool_(True), "x")}
    found = plain(given)
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "1": None,
        "a": [3, None, None, True],
        "b": [[1.0, 0.0], [0.0, 1.0]],
        "c": [True, "x"],
    }


def arm(name: str, mean: float | None, folds: int = 5) -> dict[str, Any]:
    return {
        "name": name,
        "accuracy_mean": mean,
        "accuracy_interval": None if mean is None else [mean - 0.01, mean + 0.01],
        "folds_run": folds,
        "seconds": 1.5,
        "trained_parameters": None if mean is None else 100,
        "reason": "" if mean is not None else "the time was over",
    }


def summary(**changes: Any) -> dict[str, Any]:
    comparison = {"difference": 0.05, "interval": [0.02, 0.08], "detectable": 0.03, "against": "probe", "best": "full"}
    return {
        "data": {"num_images": 500, "num_classes": 4},
        "quadrant": {"number": 4, "size": "small", "similarity": "high"},
        "advice": {"arm": "probe"},
        "arms": [arm("probe", 0.90), arm("full", 0.95), arm("gradual", None, 0)],
        "chosen": "full",
        "best": "full",
        "decided": True,
        "comparison": comparison,
        "regret": 0.05,
        "test": {"accuracy": 0.94, "interval": [0.9, 0.97], "num_images": 100, "balanced_accuracy": 0.93},
        "seconds": 61.4,
        **changes,
    }


def test_a_decided_race_names_the_winner_by_how_much_and_the_regret() -> None:
    assert sentence(summary()) == "full won: +5.0 points (+2.0 to +8.0) against probe. Regret of the advice: 5.0 points."


def test_an_undecided_race_says_so_and_what_could_have_been_found() -> None:
    said = sentence(summary(decided=False, chosen="probe"))
    assert said.startswith(
        "Undecided between full and probe: +5.0 points (+2.0 to +8.0); this design can detect 3.0 points."
    )
    assert "The one cheaper to train, probe, was taken." in said
    said = sentence(summary(decided=False))
    assert said.startswith("full was best and no dearer to train than probe, from which it could not be told: +5.0 points")


def test_a_race_without_rivals_compares_nothing() -> None:
    said = sentence(summary(comparison=None, decided=False, regret=0.0))
    assert said == "full was taken: no rival ran on the same folds within the time, so nothing is compared."


def test_a_race_that_ran_out_of_time_does_not_call_anything_best() -> None:
    gap = {"difference": -0.2, "interval": [-0.3, -0.1], "detectable": 0.1, "against": "full", "best": "probe"}
    said = sentence(
        summary(arms=[arm("probe", 0.7), arm("full", 0.9, 1)], chosen="probe", best="probe", decided=False, comparison=gap)
    )
    assert said.startswith(
        "probe was taken, the best that had time for every fold: -20.0 points (-30.0 to -10.0) against full"
    )
    assert "--budget" in said
    assert "won" not in said


def test_an_arm_that_is_taken_in_place_of_a_better_one_without_time_is_the_one_named() -> None:
    gap = {"difference": 0.02, "interval": [-0.05, 0.09], "detectable": 0.1, "against": "probe", "best": "full"}
    arms = [arm("probe", 0.7), arm("full", 0.9, 1)]
    said = sentence(summary(arms=arms, chosen="probe", best="full", decided=False, comparison=gap))
    assert said.startswith("Undecided between full, for every fold of which time did not reach, and probe: +2.0 points")
    assert "probe, cheaper to train, was taken" in said
    assert "full was taken" not in said


def test_what_the_time_would_not_do_for_is_named() -> None:
    said = sentence(summary(comparison=None, arms=[arm("full", 0.9)], left_out=["retrain", "gradual"]))
    assert said.startswith("full alone was tried, so nothing is compared: the time would not do for retrain, gradual.")
    assert "asked for" not in said
    assert sentence(summary(comparison=None, arms=[arm("full", 0.9)])).startswith("full was the only arm asked for")


def test_balanced_accuracy_is_called_that() -> None:
    plain, balanced = as_text(summary()), as_text(summary(metric="balanced accuracy"))
    assert "balanced accuracy, in which every class counts the same" in balanced
    assert balanced.splitlines()[2].split()[:2] == ["arm", "balanced"]
    assert plain.splitlines()[2].split()[:2] == ["arm", "accuracy"]


def test_an_unknown_regret_is_not_mentioned() -> None:
    assert "Regret" not in sentence(summary(regret=None))


def test_the_table_lists_every_arm_and_marks_the_chosen_and_the_advised() -> None:
    lines = as_text(summary()).splitlines()
    assert lines[0] == "500 images, 4 classes; quadrant 4: small data, high similarity; advice: probe"
    assert [line.split()[:2] for line in lines[3:6]] == [["full", "*"], ["probe", "+"], ["gradual", "-"]]
    assert lines[5].endswith("the time was over")
    assert lines[-1] == "test, read once: accuracy 0.940 (0.900 to 0.970) on 100 images, balanced 0.930; 61 s in all"
