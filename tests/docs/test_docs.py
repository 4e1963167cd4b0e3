"""The documentation's examples run, and its generated page is up to date."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def module(path: Path) -> ModuleType:
    """A script that lies in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_strategies_page_is_what_the_code_says() -> None:
    assert (ROOT / "docs/strategies.md").read_text(encoding="utf-8") == module(ROOT / "docs/make_strategies.py").page()


def test_readme_example_runs(tmp_path: Path, run_example: Callable[[Path, str, str], None]) -> None:
    run_example(ROOT / "README.md", 'budget="10s"', 'budget="1s", strategies=("probe", "lpft"), folds=2')
    assert (tmp_path / "runs/photos/report.html").exists()
