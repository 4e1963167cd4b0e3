"""The page about views: its example runs, and its steps and names are those there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headstart.catalog.pipelines import PIPELINES, STEPS, parse_steps, text_of

PAGE = Path(__file__).parents[2] / "docs" / "pretrain-views.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, run_example: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run_example(PAGE)
    said = capsys.readouterr().out.splitlines()
    assert [text_of(parse_steps(line)) for line in said] == said
    assert "blur(1.0, 0.1, 2.0)" in said[0]
    with Image.open(tmp_path / "views.png") as page:
        assert page.size == (9 * 98 - 2, 6 * 98 - 2)


def test_every_step_and_pipeline_is_told() -> None:
    assert set(re.findall(r"^\| `(\w+)\(", TEXT, re.M)) == set(STEPS)
    assert {name for name in PIPELINES if f"`{name}`" not in TEXT} == {"simclr_small"}
    (shown,) = re.findall(r"^    (crop.*)$", TEXT, re.M)
    assert text_of(parse_steps(shown)) == shown
