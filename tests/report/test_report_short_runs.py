"""The page of short trainings: a heat map of pairs, a panel per scale, what is missing, names that are not trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headstart.report.render import page_of


def cell(name: str, place: list[str], mean: float, loss: float | None = 2.0) -> dict[str, Any]:
    accuracy = {"mean": mean, "low": mean - 0.04, "high": mean + 0.04}
    return {"name": name, "place": place, "accuracy": accuracy, "block": "layer2_0", "loss": loss, "seconds": 12.5}


def gap(a: str, b: str, mean: float, decided: bool) -> dict[str, Any]:
    return {"a": a, "b": b, "mean": mean, "low": mean - 0.03, "high": mean + 0.03, "decided": decided, "detectable": 0.04}


def summary(command: str, cells: list[dict[str, Any]], gaps: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    shared = {"command": command, "backbone": {"name": "headstart:resnet8"}, "images": 2000, "seeds": [0], "steps": []}
    return {**shared, "cells": cells, "differences": gaps, "left_out": [], "sentences": ["It was so."], **more}


def page(tmp_path: Path, found: dict[str, Any]) -> str:
    (tmp_path / "summary.json").write_text(json.dumps(found), "utf-8")
    (tmp_path / "config.json").write_text(json.dumps({"command": found["command"]}), "utf-8")
    return page_of(tmp_path)


def pairs() -> dict[str, Any]:
    cells = [cell("crop jitter", ["crop", "jitter"], 0.61), cell("crop", ["crop", "crop"], 0.5)]
    left_out = [{"name": "jitter", "reason": "the time does not reach"}]
    return summary(
        "study augmentations", cells, [gap("crop jitter", "crop", 0.11, True)], steps=["crop", "jitter"], left_out=left_out
    )


def test_pairs_are_a_heat_map_and_a_table(tmp_path: Path) -> None:
    text = page(tmp_path, pairs())
    assert "Heat map of accuracies: crop and jitter 61.0" in text
    assert text.count('class="cell right"') == 2 * 3  # a wide and a narrow drawing: one pair twice, one alone
    assert text.count('class="cell empty"') == 2 * 1
    assert "−11.0 points" in text
    assert "the time does not reach" in text
    assert "One seed" in text


def test_scales_are_a_panel_each_with_the_difference_from_the_one_before(tmp_path: Path) -> None:
    cells = [
        cell("projection none", ["projection", "none"], 0.4),
        cell("projection linear", ["projection", "linear"], 0.45, None),
        cell("epochs 10", ["epochs", "10"], 0.45),
    ]
    text = page(
        tmp_path, summary("study scaling", cells, [gap("projection linear", "projection none", 0.05, False)], seeds=[0, 1])
    )
    assert "Projection head" in text
    assert "Passes over the images" in text
    assert "Images per step" not in text
    assert "+5.0 points" in text
    assert "undecided" in text
    assert "One seed" not in text


@pytest.mark.parametrize("command", ["study augmentations", "study scaling"])
def test_a_run_that_got_nowhere_says_what_is_missing(command: str, tmp_path: Path) -> None:
    text = page(tmp_path, {"command": command})
    assert "none came to its end" in text
    assert "Not shown: the result" in text


def test_a_difference_of_one_seed_says_so_and_the_networks_are_those_trained(tmp_path: Path) -> None:
    found = pairs()
    found["differences"] = [{**gap("crop jitter", "crop", 0.11, False), "seeds": 1}]
    text = page(tmp_path, {**found, "networks": ["headstart:resnet20", "headstart:vit"]})
    assert ", one seed" in text
    assert ", undecided" not in text
    assert "2 trainings of headstart:resnet20 and headstart:vit" in text
    assert "chosen on the images it is judged on" in text


def test_names_are_escaped(tmp_path: Path) -> None:
    found = pairs()
    found["sentences"] = ["<script>alert(1)</script>"]
    found["left_out"][0]["reason"] = "<b>no</b>"
    text = page(tmp_path, found)
    assert "<script>" not in text
    assert "<b>no</b>" not in text
