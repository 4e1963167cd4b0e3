"""The example on the page about choosing a network runs, and its table is what the rows say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.select import rows_of, table, write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "select.md"


def test_the_example_runs(
    tmp_path: Path, run_example: Callable[[Path, str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    run_example(PAGE, 'budget="30s"', 'budget="1s", folds=2, device="cpu"')
    assert (tmp_path / "runs/photos-select/report.html").exists()
    assert "seen larger" in capsys.readouterr().out


def test_the_table_can_be_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "select.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    found = table(rows_of(ROOT / "benchmarks" / "select.csv"))
    write_page(page, found)
    write_page(page, found)
    assert page.read_text(encoding="utf-8").count(found) == 1
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="has no <!-- table -->"):
        write_page(page, found)
