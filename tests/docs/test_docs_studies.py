"""The examples on the pages about the studies and about the comparison run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
Example = Callable[[Path, str, str], None]


def test_the_study_of_layers(tmp_path: Path, run_example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    run_example(DOCS / "layers.md", "epochs=20", "epochs=1, limit=30, cuts=(7,), workers=1")
    assert (tmp_path / "runs/digits-layers/report.html").exists()
    said = capsys.readouterr().out
    assert "How general or specific is each layer?" in said
    assert said.splitlines()[-1].startswith("7 ")


def test_the_comparison(tmp_path: Path, run_example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    old = 'strategies=("probe", "early_probe", "full")'
    run_example(DOCS / "compare.md", old, 'strategies=("probe", "early_probe"), folds=2, device="cpu"')
    assert (tmp_path / "runs/photos-compare/report.html").exists()
    said = capsys.readouterr().out
    assert "early_probe" in said
    assert "It forgets nothing of the source" in said or "What it forgets of the source" in said


def test_the_short_studies(tmp_path: Path, run_example: Example, capsys: pytest.CaptureFixture[str]) -> None:
    short = 'most=16, epochs=1, seeds=1, batch_size=4, steps=("flip", "grey"), backbone="headstart:resnet8"'
    run_example(DOCS / "short-studies.md", "most=2000, epochs=6, seeds=2", short)
    assert (tmp_path / "runs/augmentations/report.html").exists()
    said = capsys.readouterr().out
    assert "flip grey" in said
    assert "came first of 3" in said
