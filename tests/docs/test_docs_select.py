"""The example on the page about choosing a network runs, and its table is what the rows say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.select import rows_of, table, write_page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "select.md"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code = re.findall(r"<!-- example -->\n```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(code) == 1
    rng = np.random.default_rng(0)
    for label, channel in (("red", 0), ("green", 1)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(14):
            pixels = rng.integers(0, 120, (16, 16, 3), np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    short = code[0].replace('budget="30s"', 'budget="1s", folds=2, device="cpu"')
    assert short != code[0]
    exec(compile(short, "docs/select.md", "exec"), {})
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
