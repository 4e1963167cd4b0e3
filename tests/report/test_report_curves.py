"""Learning curves: every logged point has its place on the axis, and the words say which folds are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.report.charts import Series, line_chart
from headstart.report.curves import HEIGHT, LOW, curves
from headstart.report.folder import RunFolder

LOSSES = st.lists(st.floats(-50, 50), min_size=2, max_size=9)
SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=9)


def epochs(arm: str, fold: Any, key: str, values: list[float]) -> list[dict[str, Any]]:
    place = {"event": "epoch", "arm": arm, "fold": fold, "stage": "joint"}
    return [{**place, "epoch": k, key: value} for k, value in enumerate(values)]


def heights(picture: str, kind: str) -> list[list[float]]:
    """Vertical pixels of the points of every line of a kind."""
    found = [one for one in ElementTree.fromstring(f"<x>{picture}</x>").iter("path") if one.get("class") == f"line {kind}"]
    return [[float(point.split()[1]) for point in (one.get("d") or "")[1:].split("L")] for one in found]


def is_faithful(values: list[float], pixels: list[float], height: float) -> bool:
    """Inside the drawing, and higher by as much as the values are: what is clipped breaks the proportion.

    However small the differences: they may fill the drawing or vanish in it, but not change their proportion.
    """
    if not all(7.9 <= y <= height - 23.9 for y in pixels):
        return False
    scale = max(values) - min(values)
    if scale == 0:
        return np.ptp(pixels) < 0.2
    share = (np.array(values) - min(values)) / scale
    return bool(np.allclose(max(pixels) - np.array(pixels), share * np.ptp(pixels), atol=0.2))


@given(LOSSES)
def test_every_loss_has_its_place(losses: list[float]) -> None:
    """Losses below zero too: log-likelihoods and weighted sums can be."""
    seen = curves(RunFolder(Path("x"), log=epochs("full", 0, "loss", losses)))
    assert seen is not None
    (line,) = heights(seen.panels[0].picture, "loss")
    assert is_faithful(losses, line, LOW)


@given(SHARES, SHARES)
def test_every_accuracy_has_its_place_on_the_shared_scale(one: list[float], two: list[float]) -> None:
    log = [*epochs("full", 0, "valid_accuracy", one), *epochs("lpft", 0, "valid_accuracy", two)]
    seen = curves(RunFolder(Path("x"), log=log))
    assert seen is not None
    drawn = [heights(panel.picture, "bold")[0] for panel in seen.panels]
    assert is_faithful([*one, *two], [*drawn[0], *drawn[1]], HEIGHT)


@given(st.lists(st.floats(-2, 3), min_size=2, max_size=6))
def test_a_chart_widens_the_range_it_is_given_rather_than_clip(values: list[float]) -> None:
    points = [(float(x), y) for x, y in enumerate(values)]
    picture = line_chart([Series(points, "bold")], 350, 190, "", x_ticks=[(0.0, "0")], y_range=(0.4, 0.6))
    assert is_faithful(values, heights(picture, "bold")[0], 190)


def test_the_axis_of_the_loss_starts_at_zero_and_has_two_numbers() -> None:
    seen = curves(RunFolder(Path("x"), log=epochs("full", 0, "loss", [0.69, 0.5, 0.32])))
    assert seen is not None
    texts = [one.text for one in ElementTree.fromstring(f"<x>{seen.panels[0].picture}</x>").iter("text")]
    assert {"0", "0.5"} <= set(texts)


@pytest.mark.parametrize(
    ("folds", "valid", "lead", "legend"),
    [
        ((0,), (0,), "Accuracy on held-out images by epoch.", ["held-out images", "training loss"]),
        (
            (0, 1),
            (0,),
            "Accuracy on the held-out images of the first fold by epoch.",
            ["held-out images, first fold", "training loss, mean of the folds"],
        ),
        (
            (0, 1),
            (0, 1),
            "Accuracy on held-out images by epoch.",
            ["held-out images, mean of the folds", "each fold", "training loss, mean of the folds"],
        ),
    ],
)
def test_words_tell_which_folds_are_drawn(folds: Any, valid: Any, lead: str, legend: list[str]) -> None:
    log = [record for fold in folds for record in epochs("full", fold, "loss", [0.9, 0.5])]
    for record in log:
        if record["fold"] in valid:
            record["valid_accuracy"] = 0.5 + 0.1 * record["epoch"]
    seen = curves(RunFolder(Path("x"), log=log))
    assert seen is not None
    assert seen.lead.startswith(lead)
    assert [text for _, text in seen.legend] == legend
