"""Differences in words."""

from typing import Any

import pytest

from headstart.studies.multitask_told import gap

MEASURES = {
    "accuracy": {"words": "accuracy", "higher": True},
    "mean_absolute_error": {"words": "mean absolute error", "higher": False},
    "r2": {"words": "explained variance", "higher": True},
}


@pytest.mark.parametrize(
    ("measure", "mean", "low", "high", "told"),
    [
        ("accuracy", 0.05, 0.022, 0.081, "+5.0 points (+2.2 to +8.1)"),
        ("mean_absolute_error", 0.0974, 0.085, 0.11, "mean absolute error smaller by 0.0974 (0.085 to 0.11)"),
        ("mean_absolute_error", -0.0974, -0.11, -0.085, "mean absolute error larger by 0.0974 (0.085 to 0.11)"),
        ("mean_absolute_error", 0.016, -0.011, 0.042, "mean absolute error smaller by 0.016 (-0.011 to 0.042)"),
        ("mean_absolute_error", -0.016, -0.042, 0.011, "mean absolute error larger by 0.016 (-0.011 to 0.042)"),
        ("r2", -0.2, -0.3, -0.1, "explained variance smaller by 0.2 (0.1 to 0.3)"),
    ],
)
def test_a_gap_says_which_way(measure: str, mean: float, low: float, high: float, told: str):
    one: dict[str, Any] = {"measure": measure, "mean": mean, "low": low, "high": high}
    assert gap({"measures": MEASURES}, one) == told
