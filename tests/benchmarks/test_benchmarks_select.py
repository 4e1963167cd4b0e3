"""Regret of made-up picks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rows import append
from benchmarks.select import CANDIDATES, COLUMNS, MEASURES, regrets, rows_of, table


def made(path: Path, target: str, worth: dict[str, float], pick: str | None, **favourites: str) -> None:
    """Rows in which `worth` is what each candidate is worth, and each measure prefers the candidate named for it."""
    for name in CANDIDATES:
        scores = {measure: float(favourite == name) for measure, favourite in favourites.items()}
        append(
            path,
            COLUMNS,
            {"target": target, "candidate": name, "test_probe": worth.get(name, 0.1), "test_lpft": 0.05, **scores},
        )
    if pick:
        append(path, COLUMNS, {"target": target, "candidate": "select", "chosen": pick})


def test_regret_is_what_the_favourite_lacks(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    made(path, "a", {"embedded": 0.9, "resnet8": 0.7}, "embedded", logme="resnet8", probe="embedded")
    made(path, "b", {"embedded": 0.5, "resnet8": 0.6}, "resnet8", logme="resnet8", probe="embedded", leep="half")
    append(path, COLUMNS, {"target": "unfinished", "candidate": "embedded", "test_probe": 1.0, "test_lpft": 0.0})
    found = regrets(rows_of(path))
    assert found["logme"] == pytest.approx({"a": 0.2, "b": 0.0})
    assert found["probe"] == pytest.approx({"a": 0.0, "b": 0.1})
    assert found["leep"] == pytest.approx({"b": 0.5})
    assert found["select"] == pytest.approx({"a": 0.0, "b": 0.0})
    assert found["random"]["a"] == pytest.approx(0.9 - (0.9 + 0.7 + 6 * 0.1) / 8)
    assert "size" in MEASURES
    assert "size" not in found
    lines = table(rows_of(path)).splitlines()
    assert lines[2].startswith("| select | 0.00 | 0.00 to 0.00 |")
    assert "| leep | 50.00 | 50.00 to 50.00 | 50.0 (b) | 1 |" in lines


def test_nothing_measured(tmp_path: Path) -> None:
    assert regrets(rows_of(tmp_path / "none.csv")) == {}
