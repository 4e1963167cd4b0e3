"""The example on the page about distillation runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "distill.md"


def test_the_example_runs(tmp_path: Path, run_example: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    quick = 'budget="1s", strategies=("probe",), folds=2'
    run_example(PAGE, 'budget="20s"', quick, "epochs=30, seeds=3", "epochs=2, seeds=1")
    assert (tmp_path / "runs/small/report.html").exists()
    assert "alone" in capsys.readouterr().out
